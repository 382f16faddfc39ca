/* Devices: opened, asked, closed (GenTL 6.5). The remote device is the camera, the device its local half. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulator.h"

GC_ERROR device_info(const Camera *camera, int32_t what, int32_t *type, void *out, size_t *size) {
    char display[2 * NAME_BYTES + 4];
    switch (what) {
        case DEVICE_INFO_ID:
        case DEVICE_INFO_SERIAL_NUMBER: return give_text(camera->serial, type, out, size);
        case DEVICE_INFO_VENDOR: return give_text("Conveyor Inspector", type, out, size);
        case DEVICE_INFO_MODEL: return give_text(camera->model, type, out, size);
        case DEVICE_INFO_TLTYPE: return give_text(camera->transport, type, out, size);
        case DEVICE_INFO_USER_DEFINED_NAME: return give_text(camera->user_id, type, out, size);
        case DEVICE_INFO_VERSION: return give_text("1.0", type, out, size);
        case DEVICE_INFO_TIMESTAMP_FREQUENCY: return give_u64(1000000000, type, out, size);
        case DEVICE_INFO_DISPLAYNAME:
            snprintf(display, sizeof display, "%s (%s)", camera->model, camera->serial);
            return give_text(display, type, out, size);
        case DEVICE_INFO_ACCESS_STATUS:
            if (camera->lost) return give_i32(DEVICE_ACCESS_STATUS_NOACCESS, type, out, size);
            return give_i32(camera->open ? DEVICE_ACCESS_STATUS_OPEN_READWRITE : DEVICE_ACCESS_STATUS_READWRITE, type,
                            out, size);
        default: return fail(GC_ERR_NOT_AVAILABLE, "unknown information about the device");
    }
}

GENTL_API GC_ERROR IFOpenDevice(void *interface, const char *id, int32_t flags, void **device) {
    (void)interface, (void)flags;
    pthread_mutex_lock(&lock);
    Camera *camera = find_camera(id);
    GC_ERROR result = GC_ERR_SUCCESS;
    if (camera == NULL)
        result = fail(GC_ERR_INVALID_ID, "there is no such device");
    else if (!camera->plugged)
        result = fail(GC_ERR_NOT_AVAILABLE, "the camera is unplugged");
    else if (camera->open)
        result = fail(GC_ERR_ACCESS_DENIED, "the camera is open already");
    if (result == GC_ERR_SUCCESS) {
        camera->open = true;
        camera->lost = false;
        set_u32(camera, REG_PARAMS_LOCKED, 0);
        *device = camera;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR DevClose(void *device) {
    if (kind_of(device) != MODULE_DEVICE) return fail(GC_ERR_INVALID_HANDLE, "no device");
    close_device(device);
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR DevGetInfo(void *device, int32_t what, int32_t *type, void *out, size_t *size) {
    if (kind_of(device) != MODULE_DEVICE) return fail(GC_ERR_INVALID_HANDLE, "no device");
    pthread_mutex_lock(&lock);
    GC_ERROR result = device_info(device, what, type, out, size);
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR DevGetPort(void *device, void **port) {
    if (kind_of(device) != MODULE_DEVICE) return fail(GC_ERR_INVALID_HANDLE, "no device");
    *port = &((Camera *)device)->remote;
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR DevGetParentIF(void *device, void **interface) {
    (void)device, (void)interface;
    return fail(GC_ERR_NOT_IMPLEMENTED, "not implemented");
}

GENTL_API GC_ERROR DevGetNumDataStreams(void *device, uint32_t *count) {
    (void)device;
    *count = 1;
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR DevGetDataStreamID(void *device, uint32_t index, char *out, size_t *size) {
    (void)device;
    if (index != 0) return fail(GC_ERR_INVALID_INDEX, "there is one stream");
    return give_text("Stream0", NULL, out, size);
}

GENTL_API GC_ERROR DevOpenDataStream(void *device, const char *id, void **stream) {
    (void)id;
    if (kind_of(device) != MODULE_DEVICE) return fail(GC_ERR_INVALID_HANDLE, "no device");
    Camera *camera = device;
    pthread_mutex_lock(&lock);
    bool taken = camera->stream_open;
    camera->stream_open = true;
    pthread_mutex_unlock(&lock);
    if (taken) return fail(GC_ERR_RESOURCE_IN_USE, "the stream is open");
    *stream = &camera->stream;
    return GC_ERR_SUCCESS;
}

/* Closes the stream too. Events are freed here: readers never unregister them. */
static void close_stream(Camera *camera) {
    stop_grabbing(camera);
    pthread_mutex_lock(&lock);
    free_event(&camera->buffer_event);
    for (int index = 0; index < camera->buffer_count; index++) {
        if (camera->buffers[index]->own) free(camera->buffers[index]->base);
        free(camera->buffers[index]);
    }
    camera->buffer_count = camera->input_count = 0;
    camera->stream_open = false;
    pthread_mutex_unlock(&lock);
}

GENTL_API GC_ERROR DSClose(void *stream) {
    if (kind_of(stream) != MODULE_STREAM) return fail(GC_ERR_INVALID_HANDLE, "no stream");
    close_stream(camera_of(stream));
    return GC_ERR_SUCCESS;
}

void close_device(Camera *camera) {
    if (camera->stream_open) close_stream(camera);
    pthread_mutex_lock(&lock);
    free_event(&camera->module_event);
    free_event(&camera->remote_event);
    camera->open = camera->acquiring = false;
    pthread_mutex_unlock(&lock);
}
