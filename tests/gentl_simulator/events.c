/* Events: how the reader waits for frames (GenTL 6.6.3). Waiting ends by a frame, the timeout or a kill. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "simulator.h"

enum { MODULE_EVENT_BYTES = 16 }; /* number and value; this producer fires none, as most don't */

static Event *system_event, *interface_event;

static Event **slot_of(void *handle, int32_t type) {
    Camera *camera = camera_of(handle);
    switch (kind_of(handle)) {
        case MODULE_SYSTEM: return type == EVENT_MODULE ? &system_event : NULL;
        case MODULE_INTERFACE: return type == EVENT_MODULE ? &interface_event : NULL;
        case MODULE_DEVICE:
            if (type == EVENT_MODULE) return &camera->module_event;
            return type == EVENT_REMOTE_DEVICE ? &camera->remote_event : NULL;
        case MODULE_STREAM: return type == EVENT_NEW_BUFFER ? &camera->buffer_event : NULL;
        default: return NULL;
    }
}

/* Puts a buffer into an event's queue. With the lock. */
void fire(Event *event, Buffer *buffer) {
    if (event == NULL || event->count == EVENT_QUEUE) return; /* more than there are buffers: never full */
    event->queue[(event->first + event->count) % EVENT_QUEUE] = buffer;
    event->count++;
    event->fired++;
    pthread_cond_signal(&event->wake);
}

static Buffer *take_first(Event *event) {
    Buffer *buffer = event->queue[event->first];
    event->first = (event->first + 1) % EVENT_QUEUE;
    event->count--;
    return buffer;
}

/* Takes all buffers that nobody fetched out of the queue, or only one of them. With the lock. */
void forget_delivered(Camera *camera, const Buffer *only) {
    Event *event = camera->buffer_event;
    if (event == NULL) return;
    for (int left = event->count; left > 0; left--) {
        Buffer *buffer = take_first(event);
        if (only == NULL || buffer == only)
            buffer->state = BUFFER_ANNOUNCED;
        else
            event->queue[(event->first + event->count++) % EVENT_QUEUE] = buffer;
    }
}

/* Ends all waits and frees the event. With the lock, which is let go while others wait. */
void free_event(Event **slot) {
    Event *event = *slot;
    if (event == NULL) return;
    *slot = NULL;
    event->killed = true;
    pthread_cond_broadcast(&event->wake);
    while (event->waiters > 0) {
        struct timespec moment = {0, 200000};
        pthread_mutex_unlock(&lock);
        nanosleep(&moment, NULL);
        pthread_mutex_lock(&lock);
    }
    pthread_cond_destroy(&event->wake);
    event->kind = MODULE_NONE;
    free(event);
}

GENTL_API GC_ERROR GCRegisterEvent(void *handle, int32_t type, void **out) {
    pthread_mutex_lock(&lock);
    GC_ERROR result = GC_ERR_SUCCESS;
    Event **slot = slot_of(handle, type);
    if (slot == NULL)
        result = fail(GC_ERR_NOT_IMPLEMENTED, "no such event"); /* NOT_AVAILABLE would end harvesters' create() */
    else if (*slot != NULL)
        result = fail(GC_ERR_RESOURCE_IN_USE, "the event is registered");
    else if ((*slot = calloc(1, sizeof **slot)) == NULL)
        result = fail(GC_ERR_OUT_OF_MEMORY, "no memory");
    if (result == GC_ERR_SUCCESS) {
        Event *event = *slot;
        event->kind = MODULE_EVENT;
        event->type = type;
        event->slot = slot;
        make_condition(&event->wake);
        *out = event;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR GCUnregisterEvent(void *handle, int32_t type) {
    pthread_mutex_lock(&lock);
    Event **slot = slot_of(handle, type);
    if (slot != NULL) free_event(slot);
    pthread_mutex_unlock(&lock);
    return slot != NULL ? GC_ERR_SUCCESS : fail(GC_ERR_INVALID_PARAMETER, "no such event");
}

/* Waits with the lock; SUCCESS if something is in the queue. */
static GC_ERROR wait_for_event(Event *event, uint64_t timeout_ms) {
    bool forever = timeout_ms == UINT64_MAX;
    struct timespec until = at_s(now_s() + (forever ? 1e9 : (double)timeout_ms * 1e-3));
    GC_ERROR result = GC_ERR_SUCCESS;
    event->waiters++;
    while (event->count == 0 && !event->killed && result == GC_ERR_SUCCESS)
        if (pthread_cond_timedwait(&event->wake, &lock, &until) == ETIMEDOUT && event->count == 0)
            result = fail(GC_ERR_TIMEOUT, "timeout");
    event->waiters--;
    if (event->killed) {
        event->killed = false;
        return fail(GC_ERR_ABORT, "the wait was killed");
    }
    return result;
}

GENTL_API GC_ERROR EventGetData(void *handle, void *out, size_t *size, uint64_t timeout_ms) {
    if (kind_of(handle) != MODULE_EVENT) return fail(GC_ERR_INVALID_HANDLE, "no event");
    Event *event = handle;
    pthread_mutex_lock(&lock);
    GC_ERROR result = wait_for_event(event, timeout_ms);
    if (result == GC_ERR_SUCCESS && *size < sizeof(EVENT_NEW_BUFFER_DATA))
        result = fail(GC_ERR_BUFFER_TOO_SMALL, "the buffer is too small");
    if (result == GC_ERR_SUCCESS) {
        Buffer *buffer = take_first(event);
        buffer->state = BUFFER_WITH_USER;
        EVENT_NEW_BUFFER_DATA data = {buffer, buffer->user};
        memcpy(out, &data, sizeof data);
        *size = sizeof data;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR EventGetDataInfo(void *handle, const void *data, size_t bytes, int32_t what, int32_t *type,
                                    void *out, size_t *size) {
    if (kind_of(handle) != MODULE_EVENT || bytes < sizeof(EVENT_NEW_BUFFER_DATA))
        return fail(GC_ERR_INVALID_HANDLE, "no event, or no data of one");
    const EVENT_NEW_BUFFER_DATA *new_buffer = data;
    switch (what) {
        case EVENT_DATA_ID: return give_pointer(new_buffer->BufferHandle, type, out, size);
        case EVENT_DATA_VALUE: return give_pointer(new_buffer->pUserPointer, type, out, size);
        default: return fail(GC_ERR_NOT_AVAILABLE, "unknown information about the event's data");
    }
}

GENTL_API GC_ERROR EventGetInfo(void *handle, int32_t what, int32_t *type, void *out, size_t *size) {
    if (kind_of(handle) != MODULE_EVENT) return fail(GC_ERR_INVALID_HANDLE, "no event");
    const Event *event = handle;
    switch (what) {
        case EVENT_EVENT_TYPE: return give_i32(event->type, type, out, size);
        case EVENT_NUM_IN_QUEUE: return give_size((size_t)event->count, type, out, size);
        case EVENT_NUM_FIRED: return give_u64(event->fired, type, out, size);
        case EVENT_SIZE_MAX: /* required: the reader allocates as much */
            return give_size(event->type == EVENT_NEW_BUFFER ? sizeof(EVENT_NEW_BUFFER_DATA) : MODULE_EVENT_BYTES, type,
                             out, size);
        case EVENT_INFO_DATA_SIZE_MAX: return give_size(sizeof(void *), type, out, size);
        default: return fail(GC_ERR_NOT_AVAILABLE, "unknown information about the event");
    }
}

GENTL_API GC_ERROR EventFlush(void *handle) {
    if (kind_of(handle) != MODULE_EVENT) return fail(GC_ERR_INVALID_HANDLE, "no event");
    Event *event = handle;
    pthread_mutex_lock(&lock);
    while (event->count > 0) take_first(event)->state = BUFFER_WITH_USER;
    pthread_mutex_unlock(&lock);
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR EventKill(void *handle) {
    if (kind_of(handle) != MODULE_EVENT) return fail(GC_ERR_INVALID_HANDLE, "no event");
    Event *event = handle;
    pthread_mutex_lock(&lock);
    event->killed = true;
    pthread_cond_broadcast(&event->wake);
    pthread_mutex_unlock(&lock);
    return GC_ERR_SUCCESS;
}
