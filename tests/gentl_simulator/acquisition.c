/* The camera at work: a thread that waits for its trigger, exposes, and hands over the frame, faults included. */
#define _POSIX_C_SOURCE 200809L
#include <string.h>
#include <time.h>

#include "simulator.h"

/* Waits with the lock until a time, or until the stream stops or the camera is lost. */
static void wait_until(Camera *camera, double when_s) {
    struct timespec when = at_s(when_s);
    while (camera->grabbing && !camera->lost && now_s() < when_s) pthread_cond_timedwait(&camera->wake, &lock, &when);
}

uint64_t take_id(Camera *camera) {
    uint64_t id = camera->next_id++;
    if (camera->faults.ids_of_16_bits && camera->next_id > 0xffff)
        camera->next_id = strcmp(camera->transport, "GEV") == 0 ? 1 : 0; /* GigE Vision 1 skips 0 */
    return id;
}

static Exposure expose(Camera *camera) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    Exposure exposure = {
        .width = get_u32(camera, REG_WIDTH),
        .height = get_u32(camera, REG_HEIGHT),
        .delivered_height = get_u32(camera, REG_HEIGHT),
        .offset_x = get_u32(camera, REG_OFFSET_X),
        .offset_y = get_u32(camera, REG_OFFSET_Y),
        .pixel_format = get_u32(camera, REG_PIXEL_FORMAT),
        .padding = camera->faults.padding_bytes,
        .exposure_us = get_f64(camera, REG_EXPOSURE_TIME),
        .gain_db = get_f64(camera, REG_GAIN),
        .black_level = get_f64(camera, REG_BLACK_LEVEL),
        .reverse_x = get_u32(camera, REG_REVERSE_X) != 0,
        .timestamp_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
        .part = camera->parts++,
        .frame_id = take_id(camera),
    };
    memcpy(exposure.counters, camera->counters, sizeof exposure.counters);
    Faults *faults = &camera->faults;
    if (faults->incomplete > 0) {
        faults->incomplete--;
        exposure.incomplete = true;
    }
    if (faults->short_frames > 0) {
        faults->short_frames--;
        if (faults->short_lines < exposure.height) exposure.delivered_height = faults->short_lines;
    }
    return exposure;
}

static void append_chunks(Buffer *buffer, uint32_t enabled) {
    const Exposure *exposure = &buffer->exposure;
    const void *values[CHUNKS] = {&exposure->frame_id, &exposure->timestamp_ns, &exposure->exposure_us, exposure->counters};
    for (uint32_t index = 0; index < CHUNKS; index++) {
        if ((enabled >> index & 1) == 0 || buffer->filled + CHUNK_BYTES > buffer->size) continue;
        memcpy(buffer->base + buffer->filled, values[index], CHUNK_BYTES);
        buffer->chunk[buffer->chunks++] = (SINGLE_CHUNK_DATA){0x1001 + index, (ptrdiff_t)buffer->filled, CHUNK_BYTES};
        buffer->filled += CHUNK_BYTES;
    }
}

/* Fills the oldest queued buffer. With the lock, which is let go while the pixels are written. */
static void deliver(Camera *camera, const Exposure *exposure) {
    if (camera->input_count == 0) {
        camera->underruns++;
        return;
    }
    Buffer *buffer = camera->input[0];
    camera->input_count--;
    memmove(camera->input, camera->input + 1, (size_t)camera->input_count * sizeof camera->input[0]);
    buffer->state = BUFFER_FILLING;
    buffer->exposure = *exposure;
    bool chunks = get_u32(camera, REG_CHUNK_MODE) != 0;
    uint32_t enabled = get_u32(camera, REG_CHUNKS_ENABLED);
    pthread_mutex_unlock(&lock);

    size_t stride = line_bytes(exposure->pixel_format, exposure->width) + exposure->padding;
    uint32_t lines = exposure->incomplete ? exposure->height / 2 : exposure->delivered_height;
    if (stride > 0 && lines > buffer->size / stride) lines = (uint32_t)(buffer->size / stride);
    render(picture_of(exposure->part), exposure, buffer->base, lines);
    buffer->image_bytes = buffer->filled = stride * lines;
    buffer->chunks = 0;
    if (chunks && !exposure->incomplete) append_chunks(buffer, enabled);

    pthread_mutex_lock(&lock);
    buffer->state = BUFFER_OUTPUT;
    buffer->new_data = true;
    camera->delivered++;
    fire(camera->buffer_event, buffer);
    if (camera->frames_to_deliver != UINT64_MAX && --camera->frames_to_deliver == 0) camera->acquiring = false;
}

/* Waits for the next exposure. True if it is time for one. */
static bool await_trigger(Camera *camera, double *next_s) {
    bool triggered = get_u32(camera, REG_TRIGGER_MODE) == 1;
    if (!camera->acquiring || camera->lost || (triggered && camera->triggers == 0)) {
        pthread_cond_wait(&camera->wake, &lock);
        *next_s = now_s();
        return false;
    }
    if (camera->faults.stalled_until_s > now_s()) {
        struct timespec when = at_s(camera->faults.stalled_until_s);
        camera->triggers = 0; /* a camera that hangs does not see its triggers */
        pthread_cond_timedwait(&camera->wake, &lock, &when); /* the stall may be ended meanwhile */
        *next_s = now_s();
        return false;
    }
    double exposure_s = get_f64(camera, REG_EXPOSURE_TIME) * 1e-6;
    if (triggered) {
        camera->triggers--;
        if (!camera->begun) keep_counters(camera);
        camera->begun = false;
        camera->exposing = true;
        wait_until(camera, now_s() + get_f64(camera, REG_TRIGGER_DELAY) * 1e-6 + exposure_s);
        camera->exposing = false;
    } else if (*next_s > now_s()) {
        struct timespec when = at_s(*next_s);
        pthread_cond_timedwait(&camera->wake, &lock, &when); /* it may be lost, stopped or set anew meanwhile */
        return false;
    } else {
        double rate = get_f64(camera, REG_FRAME_RATE);
        double period_s = rate > 0 ? 1 / rate : 1;
        *next_s += period_s > exposure_s ? period_s : exposure_s;
        if (*next_s < now_s()) *next_s = now_s();
        keep_counters(camera);
    }
    return camera->grabbing && camera->acquiring && !camera->lost;
}

void *acquire(void *argument) {
    Camera *camera = argument;
    double next_s = now_s();
    pthread_mutex_lock(&lock);
    while (camera->grabbing) {
        if (!await_trigger(camera, &next_s)) continue;
        Exposure exposure = expose(camera);
        if (camera->frames_left > 0 && --camera->frames_left == 0) camera->acquiring = false;
        if (camera->faults.slow_ms > 0) wait_until(camera, now_s() + camera->faults.slow_ms * 1e-3);
        if (!camera->grabbing || camera->lost) continue;
        if (camera->faults.drop > 0) {
            camera->faults.drop--;
            continue;
        }
        deliver(camera, &exposure);
        if (camera->faults.duplicate > 0) {
            camera->faults.duplicate--;
            deliver(camera, &exposure);
        }
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

void stop_grabbing(Camera *camera) {
    pthread_mutex_lock(&lock);
    bool running = camera->grabbing;
    camera->grabbing = false;
    pthread_cond_broadcast(&camera->wake);
    pthread_mutex_unlock(&lock);
    if (running) pthread_join(camera->thread, NULL);
}
