/* The camera's registers behind its node map: defaults, commands, user sets, triggers that come from outside. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <string.h>

#include "simulator.h"

static uint8_t *bytes_of(Camera *camera) { return (uint8_t *)camera->registers; }

uint32_t get_u32(const Camera *camera, int address) {
    uint32_t value;
    memcpy(&value, (const uint8_t *)camera->registers + address, sizeof value);
    return value;
}

void set_u32(Camera *camera, int address, uint32_t value) {
    memcpy(bytes_of(camera) + address, &value, sizeof value);
}

double get_f64(const Camera *camera, int address) {
    double value;
    memcpy(&value, (const uint8_t *)camera->registers + address, sizeof value);
    return value;
}

void set_f64(Camera *camera, int address, double value) {
    memcpy(bytes_of(camera) + address, &value, sizeof value);
}

static void set_text(Camera *camera, int address, const char *text) {
    memset(bytes_of(camera) + address, 0, NAME_BYTES);
    memcpy(bytes_of(camera) + address, text, strlen(text));
}

static void load_default_settings(Camera *camera) {
    uint32_t width, height;
    sensor_size(&width, &height);
    width -= width % 4; /* packed lines end with a byte */
    memset(bytes_of(camera) + REG_SETTINGS, 0, REGISTERS_BYTES - REG_SETTINGS);
    set_u32(camera, REG_WIDTH, width);
    set_u32(camera, REG_HEIGHT, height);
    set_u32(camera, REG_WIDTH_MAX, width);
    set_u32(camera, REG_HEIGHT_MAX, height);
    set_u32(camera, REG_PIXEL_FORMAT, MONO8);
    set_u32(camera, REG_FRAME_COUNT, 1);
    set_u32(camera, REG_TRIGGER_OVERLAP, OVERLAP_PREVIOUS_FRAME);
    set_u32(camera, REG_ENCODER_DIVIDER, 100);
    set_u32(camera, REG_CHUNKS_ENABLED, (1u << CHUNKS) - 1);
    set_f64(camera, REG_FRAME_RATE, 20.0);
    set_f64(camera, REG_EXPOSURE_TIME, 5000.0); /* the pictures as they are */
    set_f64(camera, REG_TEMPERATURE, 41.5);
}

void load_defaults(Camera *camera) {
    memset(camera->registers, 0, sizeof camera->registers);
    set_text(camera, REG_VENDOR, "Conveyor Inspector");
    set_text(camera, REG_MODEL, camera->model);
    set_text(camera, REG_VERSION, "1.0");
    set_text(camera, REG_SERIAL, camera->serial);
    set_text(camera, REG_USER_ID, camera->user_id);
    load_default_settings(camera);
    memcpy(camera->user_set, camera->registers, sizeof camera->registers);
}

size_t payload_bytes(const Camera *camera) {
    size_t line = line_bytes(get_u32(camera, REG_PIXEL_FORMAT), get_u32(camera, REG_WIDTH)) + camera->faults.padding_bytes;
    return line * get_u32(camera, REG_HEIGHT) + (get_u32(camera, REG_CHUNK_MODE) ? CHUNKS * CHUNK_BYTES : 0);
}

static int counter_address(uint32_t counter) { return REG_COUNTERS + 8 * (int)counter; }

static void count_events(Camera *camera, uint32_t source, uint32_t count) {
    for (uint32_t counter = 0; counter < COUNTERS; counter++) {
        int address = counter_address(counter);
        if (get_u32(camera, address) == source)
            set_u32(camera, address + 4, (get_u32(camera, address + 4) + count) & COUNTER_MAX);
    }
}

/* The chunk has the counters as they are when the frame starts. */
void keep_counters(Camera *camera) {
    for (uint32_t counter = 0; counter < COUNTERS; counter++)
        camera->counters[counter] = get_u32(camera, counter_address(counter) + 4);
}

/* The camera is at work and can't take these triggers. */
static void miss_triggers(Camera *camera, uint32_t count) {
    camera->missed += count;
    count_events(camera, COUNTS_FRAME_TRIGGER_MISSED, count);
    if (camera->faults.missed_take_ids)
        while (count-- > 0) take_id(camera);
}

static void pull_trigger(Camera *camera, uint32_t source, uint32_t count) {
    if (get_u32(camera, REG_TRIGGER_MODE) != 1 || get_u32(camera, REG_TRIGGER_SOURCE) != source) return;
    if (count > 0 && camera->acquiring && get_u32(camera, REG_TRIGGER_OVERLAP) == OVERLAP_OFF) {
        uint32_t taken = camera->exposing || camera->triggers > 0 ? 0 : 1;
        miss_triggers(camera, count - taken);
        count = taken;
    }
    if (count > 0 && camera->triggers == 0 && !camera->exposing) {
        keep_counters(camera);
        camera->begun = true;
    }
    camera->triggers += count;
    pthread_cond_broadcast(&camera->wake);
}

void line_pulse(Camera *camera, uint32_t count) {
    while (count-- > 0) {
        count_events(camera, COUNTS_LINE1, 1);
        pull_trigger(camera, TRIGGER_LINE1, 1);
    }
}

void turn_encoder(Camera *camera, uint32_t counts) {
    int64_t before, after;
    uint32_t divider = get_u32(camera, REG_ENCODER_DIVIDER);
    memcpy(&before, bytes_of(camera) + REG_ENCODER_VALUE, sizeof before);
    after = before + counts;
    memcpy(bytes_of(camera) + REG_ENCODER_VALUE, &after, sizeof after);
    pull_trigger(camera, TRIGGER_ENCODER, (uint32_t)(after / divider - before / divider));
}

static void start_acquisition(Camera *camera) {
    uint32_t mode = get_u32(camera, REG_ACQUISITION_MODE); /* 0 Continuous, 1 SingleFrame, 2 MultiFrame */
    camera->frames_left = mode == 1 ? 1 : mode == 2 ? get_u32(camera, REG_FRAME_COUNT) : 0;
    camera->triggers = 0;
    camera->acquiring = true;
}

static int selected_counter(const Camera *camera) { return counter_address(get_u32(camera, REG_COUNTER_SELECTOR) % COUNTERS); }

/* A write to some registers is a command. */
static void obey(Camera *camera, uint64_t address) {
    uint32_t bit = 1u << get_u32(camera, REG_CHUNK_SELECTOR);
    uint32_t enabled = get_u32(camera, REG_CHUNKS_ENABLED);
    switch (address) {
        case REG_ACQUISITION_START: start_acquisition(camera); break;
        case REG_ACQUISITION_STOP: camera->acquiring = false; break;
        case REG_TRIGGER_SOFTWARE: pull_trigger(camera, TRIGGER_SOFTWARE, 1); break;
        case REG_CHUNK_ENABLE:
            set_u32(camera, REG_CHUNKS_ENABLED, get_u32(camera, REG_CHUNK_ENABLE) ? enabled | bit : enabled & ~bit);
            break;
        case REG_COUNTER_EVENT_SOURCE:
            set_u32(camera, selected_counter(camera), get_u32(camera, REG_COUNTER_EVENT_SOURCE));
            break;
        case REG_COUNTER_VALUE:
            set_u32(camera, selected_counter(camera) + 4, get_u32(camera, REG_COUNTER_VALUE));
            break;
        case REG_COUNTER_RESET: set_u32(camera, selected_counter(camera) + 4, 0); break;
        case REG_USER_SET_SAVE:
            if (get_u32(camera, REG_USER_SET_SELECTOR) == 1)
                memcpy(camera->user_set, camera->registers, sizeof camera->registers);
            break;
        case REG_USER_SET_LOAD:
            if (get_u32(camera, REG_USER_SET_SELECTOR) == 1)
                memcpy(bytes_of(camera) + REG_SETTINGS, (uint8_t *)camera->user_set + REG_SETTINGS,
                       REGISTERS_BYTES - REG_SETTINGS);
            else
                load_default_settings(camera);
            break;
        default: break;
    }
    pthread_cond_broadcast(&camera->wake);
}

GC_ERROR read_registers(Camera *camera, uint64_t address, void *out, size_t bytes) {
    if (camera->lost) return fail(GC_ERR_IO, "the device does not answer");
    if (address + bytes > REGISTERS_BYTES) return fail(GC_ERR_INVALID_ADDRESS, "no register there");
    set_u32(camera, REG_PAYLOAD_SIZE, (uint32_t)payload_bytes(camera));
    set_u32(camera, REG_CHUNK_ENABLE, get_u32(camera, REG_CHUNKS_ENABLED) >> get_u32(camera, REG_CHUNK_SELECTOR) & 1);
    set_u32(camera, REG_COUNTER_EVENT_SOURCE, get_u32(camera, selected_counter(camera)));
    set_u32(camera, REG_COUNTER_VALUE, get_u32(camera, selected_counter(camera) + 4));
    memcpy(out, bytes_of(camera) + address, bytes);
    return GC_ERR_SUCCESS;
}

GC_ERROR write_registers(Camera *camera, uint64_t address, const void *data, size_t bytes) {
    if (camera->lost) return fail(GC_ERR_IO, "the device does not answer");
    if (address + bytes > REGISTERS_BYTES) return fail(GC_ERR_INVALID_ADDRESS, "no register there");
    memcpy(bytes_of(camera) + address, data, bytes);
    obey(camera, address);
    return GC_ERR_SUCCESS;
}
