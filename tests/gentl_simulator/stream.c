/* The data stream: buffers announced, queued, filled, told about, revoked (GenTL 6.5.3). */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "simulator.h"

static int place_of(const Camera *camera, const void *buffer) {
    for (int index = 0; index < camera->buffer_count; index++)
        if (camera->buffers[index] == buffer) return index;
    return -1;
}

static GC_ERROR announce(void *stream, void *base, size_t size, void *user, bool own, void **out) {
    if (kind_of(stream) != MODULE_STREAM) return fail(GC_ERR_INVALID_HANDLE, "no stream");
    Camera *camera = camera_of(stream);
    Buffer *buffer = calloc(1, sizeof *buffer);
    if (buffer == NULL || base == NULL) {
        free(buffer);
        if (own) free(base);
        return fail(GC_ERR_OUT_OF_MEMORY, "no memory");
    }
    *buffer = (Buffer){.base = base, .user = user, .size = size, .own = own, .state = BUFFER_ANNOUNCED};
    pthread_mutex_lock(&lock);
    bool full = camera->buffer_count == BUFFERS_MAX;
    if (!full) camera->buffers[camera->buffer_count++] = buffer;
    pthread_mutex_unlock(&lock);
    if (full) {
        free(buffer);
        if (own) free(base);
        return fail(GC_ERR_RESOURCE_EXHAUSTED, "too many buffers");
    }
    *out = buffer;
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR DSAnnounceBuffer(void *stream, void *base, size_t size, void *user, void **buffer) {
    return announce(stream, base, size, user, false, buffer);
}

GENTL_API GC_ERROR DSAllocAndAnnounceBuffer(void *stream, size_t size, void *user, void **buffer) {
    return announce(stream, malloc(size), size, user, true, buffer);
}

/* With the lock. */
static void queue(Camera *camera, Buffer *buffer) {
    buffer->state = BUFFER_QUEUED;
    buffer->new_data = false;
    buffer->filled = 0;
    camera->input[camera->input_count++] = buffer;
}

GENTL_API GC_ERROR DSQueueBuffer(void *stream, void *handle) {
    if (kind_of(stream) != MODULE_STREAM) return fail(GC_ERR_INVALID_HANDLE, "no stream");
    Camera *camera = camera_of(stream);
    Buffer *buffer = handle;
    GC_ERROR result = GC_ERR_SUCCESS;
    pthread_mutex_lock(&lock);
    if (place_of(camera, handle) < 0)
        result = fail(GC_ERR_INVALID_BUFFER, "the buffer is not announced");
    else if (buffer->state == BUFFER_QUEUED || buffer->state == BUFFER_FILLING || buffer->state == BUFFER_OUTPUT)
        result = fail(GC_ERR_RESOURCE_IN_USE, "the buffer is queued already");
    else
        queue(camera, buffer);
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR DSRevokeBuffer(void *stream, void *handle, void **base, void **user) {
    if (kind_of(stream) != MODULE_STREAM) return fail(GC_ERR_INVALID_HANDLE, "no stream");
    Camera *camera = camera_of(stream);
    Buffer *buffer = handle;
    GC_ERROR result = GC_ERR_SUCCESS;
    pthread_mutex_lock(&lock);
    int place = place_of(camera, handle);
    if (place < 0)
        result = fail(GC_ERR_INVALID_BUFFER, "the buffer is not announced");
    else if (buffer->state == BUFFER_QUEUED || buffer->state == BUFFER_FILLING)
        result = fail(GC_ERR_BUSY, "the buffer is queued");
    if (result == GC_ERR_SUCCESS) {
        forget_delivered(camera, buffer);
        if (base != NULL) *base = buffer->own ? NULL : buffer->base;
        if (user != NULL) *user = buffer->user;
        if (buffer->own) free(buffer->base);
        free(buffer);
        camera->buffers[place] = camera->buffers[--camera->buffer_count];
    }
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR DSFlushQueue(void *stream, int32_t operation) {
    if (kind_of(stream) != MODULE_STREAM) return fail(GC_ERR_INVALID_HANDLE, "no stream");
    Camera *camera = camera_of(stream);
    pthread_mutex_lock(&lock);
    if (operation == ACQ_QUEUE_OUTPUT_DISCARD || operation == ACQ_QUEUE_ALL_DISCARD ||
        operation == ACQ_QUEUE_ALL_TO_INPUT)
        forget_delivered(camera, NULL);
    if (operation == ACQ_QUEUE_ALL_DISCARD)
        while (camera->input_count > 0) camera->input[--camera->input_count]->state = BUFFER_ANNOUNCED;
    if (operation == ACQ_QUEUE_ALL_TO_INPUT || operation == ACQ_QUEUE_UNQUEUED_TO_INPUT)
        for (int index = 0; index < camera->buffer_count; index++) {
            Buffer *buffer = camera->buffers[index];
            bool with_user = buffer->state == BUFFER_WITH_USER && operation == ACQ_QUEUE_ALL_TO_INPUT;
            if (buffer->state == BUFFER_ANNOUNCED || with_user) queue(camera, buffer);
        }
    pthread_mutex_unlock(&lock);
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR DSStartAcquisition(void *stream, int32_t flags, uint64_t frames) {
    (void)flags;
    if (kind_of(stream) != MODULE_STREAM) return fail(GC_ERR_INVALID_HANDLE, "no stream");
    Camera *camera = camera_of(stream);
    GC_ERROR result = GC_ERR_SUCCESS;
    pthread_mutex_lock(&lock);
    if (camera->grabbing) {
        result = fail(GC_ERR_RESOURCE_IN_USE, "the stream is grabbing already");
    } else {
        camera->frames_to_deliver = frames; /* UINT64_MAX: without end */
        camera->next_id = camera->faults.ids_of_16_bits && camera->next_id > 0 ? camera->next_id : 1;
        camera->parts = camera->missed = camera->delivered = camera->underruns = 0;
        camera->grabbing = true;
        if (pthread_create(&camera->thread, NULL, acquire, camera) != 0) {
            camera->grabbing = false;
            result = fail(GC_ERR_ERROR, "can't start a thread");
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR DSStopAcquisition(void *stream, int32_t flags) {
    (void)flags;
    if (kind_of(stream) != MODULE_STREAM) return fail(GC_ERR_INVALID_HANDLE, "no stream");
    Camera *camera = camera_of(stream);
    if (!camera->grabbing) return fail(GC_ERR_ERROR, "the stream is not grabbing");
    stop_grabbing(camera);
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR DSGetParentDev(void *stream, void **device) {
    if (kind_of(stream) != MODULE_STREAM) return fail(GC_ERR_INVALID_HANDLE, "no stream");
    *device = camera_of(stream);
    return GC_ERR_SUCCESS;
}

static GC_ERROR stream_info(const Camera *camera, int32_t what, int32_t *type, void *out, size_t *size) {
    const Event *event = camera->buffer_event;
    switch (what) {
        case STREAM_INFO_ID: return give_text("Stream0", type, out, size);
        case STREAM_INFO_NUM_STARTED:
        case STREAM_INFO_NUM_DELIVERED: return give_u64(camera->delivered, type, out, size);
        case STREAM_INFO_NUM_UNDERRUN: return give_u64(camera->underruns, type, out, size);
        case STREAM_INFO_NUM_ANNOUNCED: return give_size((size_t)camera->buffer_count, type, out, size);
        case STREAM_INFO_NUM_QUEUED: return give_size((size_t)camera->input_count, type, out, size);
        case STREAM_INFO_NUM_AWAIT_DELIVERY: return give_size(event != NULL ? (size_t)event->count : 0, type, out, size);
        case STREAM_INFO_PAYLOAD_SIZE: return give_size(payload_bytes(camera), type, out, size);
        case STREAM_INFO_IS_GRABBING: return give_bool(camera->grabbing, type, out, size);
        case STREAM_INFO_DEFINES_PAYLOADSIZE: return give_bool(true, type, out, size); /* line padding is in it */
        case STREAM_INFO_TLTYPE: return give_text("Custom", type, out, size);
        case STREAM_INFO_NUM_CHUNKS_MAX: return give_size(CHUNKS, type, out, size);
        case STREAM_INFO_BUF_ANNOUNCE_MIN:
        case STREAM_INFO_BUF_ALIGNMENT: return give_size(1, type, out, size);
        default: return fail(GC_ERR_NOT_AVAILABLE, "unknown information about the stream");
    }
}

GENTL_API GC_ERROR DSGetInfo(void *stream, int32_t what, int32_t *type, void *out, size_t *size) {
    if (kind_of(stream) != MODULE_STREAM) return fail(GC_ERR_INVALID_HANDLE, "no stream");
    pthread_mutex_lock(&lock);
    GC_ERROR result = stream_info(camera_of(stream), what, type, out, size);
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR DSGetBufferID(void *stream, uint32_t index, void **buffer) {
    if (kind_of(stream) != MODULE_STREAM) return fail(GC_ERR_INVALID_HANDLE, "no stream");
    Camera *camera = camera_of(stream);
    if (index >= (uint32_t)camera->buffer_count) return fail(GC_ERR_INVALID_INDEX, "there is no such buffer");
    *buffer = camera->buffers[index];
    return GC_ERR_SUCCESS;
}

/* Widths count: a WIDTH of 32 bits is misread. IS_INCOMPLETE, BASE and SIZE are required (GenTL 6.5.3). */
static GC_ERROR buffer_info(const Camera *camera, const Buffer *buffer, int32_t what, int32_t *type, void *out,
                            size_t *size) {
    const Exposure *exposure = &buffer->exposure;
    switch (what) {
        case BUFFER_INFO_BASE: return give_pointer(buffer->base, type, out, size);
        case BUFFER_INFO_SIZE: return give_size(buffer->size, type, out, size);
        case BUFFER_INFO_USER_PTR: return give_pointer(buffer->user, type, out, size);
        case BUFFER_INFO_NEW_DATA: return give_bool(buffer->new_data, type, out, size);
        case BUFFER_INFO_IS_QUEUED: return give_bool(buffer->state == BUFFER_QUEUED, type, out, size);
        case BUFFER_INFO_IS_ACQUIRING: return give_bool(buffer->state == BUFFER_FILLING, type, out, size);
        case BUFFER_INFO_IS_INCOMPLETE: return give_bool(exposure->incomplete, type, out, size);
        case BUFFER_INFO_TLTYPE: return give_text("Custom", type, out, size);
        case BUFFER_INFO_DATA_SIZE:
        case BUFFER_INFO_SIZE_FILLED: return give_size(buffer->filled, type, out, size);
        case BUFFER_INFO_WIDTH: return give_size(exposure->width, type, out, size);
        case BUFFER_INFO_HEIGHT: return give_size(exposure->height, type, out, size);
        case BUFFER_INFO_DELIVERED_IMAGEHEIGHT: return give_size(exposure->delivered_height, type, out, size);
        case BUFFER_INFO_XOFFSET: return give_size(exposure->offset_x, type, out, size);
        case BUFFER_INFO_YOFFSET: return give_size(exposure->offset_y, type, out, size);
        case BUFFER_INFO_XPADDING: return give_size(exposure->padding, type, out, size);
        case BUFFER_INFO_YPADDING:
        case BUFFER_INFO_IMAGEOFFSET: return give_size(0, type, out, size);
        case BUFFER_INFO_IMAGEPRESENT: return give_bool(true, type, out, size);
        case BUFFER_INFO_PAYLOADTYPE:
            return give_size(buffer->chunks > 0 ? PAYLOAD_TYPE_CHUNK_DATA : PAYLOAD_TYPE_IMAGE, type, out, size);
        case BUFFER_INFO_PIXELFORMAT: return give_u64(exposure->pixel_format, type, out, size);
        case BUFFER_INFO_PIXELFORMAT_NAMESPACE: return give_u64(PIXELFORMAT_NAMESPACE_PFNC, type, out, size);
        case BUFFER_INFO_PIXEL_ENDIANNESS: return give_i32(PIXEL_ENDIANNESS_LITTLE, type, out, size);
        case BUFFER_INFO_DELIVERED_CHUNKPAYLOADSIZE:
            return give_size((size_t)buffer->chunks * CHUNK_BYTES, type, out, size);
        case BUFFER_INFO_DATA_LARGER_THAN_BUFFER: return give_bool(false, type, out, size);
        case BUFFER_INFO_CONTAINS_CHUNKDATA: return give_bool(buffer->chunks > 0, type, out, size);
        default: break;
    }
    if (!camera->faults.no_buffer_info) switch (what) {
        case BUFFER_INFO_FRAMEID: return give_u64(exposure->frame_id, type, out, size);
        case BUFFER_INFO_TIMESTAMP:
        case BUFFER_INFO_TIMESTAMP_NS: return give_u64(exposure->timestamp_ns, type, out, size);
        default: break;
    }
    return fail(GC_ERR_NOT_AVAILABLE, "unknown information about the buffer");
}

GENTL_API GC_ERROR DSGetBufferInfo(void *stream, void *buffer, int32_t what, int32_t *type, void *out, size_t *size) {
    if (kind_of(stream) != MODULE_STREAM) return fail(GC_ERR_INVALID_HANDLE, "no stream");
    Camera *camera = camera_of(stream);
    pthread_mutex_lock(&lock);
    GC_ERROR result = place_of(camera, buffer) >= 0 ? buffer_info(camera, buffer, what, type, out, size)
                                                    : fail(GC_ERR_INVALID_BUFFER, "the buffer is not announced");
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR DSGetBufferChunkData(void *stream, void *handle, SINGLE_CHUNK_DATA *out, size_t *count) {
    (void)stream;
    const Buffer *buffer = handle;
    size_t room = *count;
    *count = buffer->chunks;
    if (out == NULL) return GC_ERR_SUCCESS;
    if (room < buffer->chunks) return fail(GC_ERR_BUFFER_TOO_SMALL, "more chunks than room");
    memcpy(out, buffer->chunk, buffer->chunks * sizeof *out);
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR DSGetNumBufferParts(void *stream, void *buffer, uint32_t *count) {
    (void)stream, (void)buffer;
    *count = 0;
    return fail(GC_ERR_NO_DATA, "no multi-part payload");
}

GENTL_API GC_ERROR DSGetBufferPartInfo(void *stream, void *buffer, uint32_t index, int32_t what, int32_t *type,
                                       void *out, size_t *size) {
    (void)stream, (void)buffer, (void)index, (void)what, (void)type, (void)out, (void)size;
    return fail(GC_ERR_NO_DATA, "no multi-part payload");
}

/* GenTL 1.6 calls that the loader looks for; without them it complains on the standard error of every reader. */
#define ABSENT(name) \
    GENTL_API GC_ERROR name(void) { return fail(GC_ERR_NOT_IMPLEMENTED, #name " is of GenTL 1.6"); }
ABSENT(DSAnnounceCompositeBuffer)
ABSENT(DSGetNumFlows)
ABSENT(DSGetFlowInfo)
ABSENT(DSGetNumBufferSegments)
ABSENT(DSGetBufferSegmentInfo)
