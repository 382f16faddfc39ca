/* From a picture to the bytes that the camera sends: exposure and gain, region, pixel format, padding.
 *
 * The sensor counts in 12 bits; at 5000 us and 0 dB its upper 8 bits are the picture.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <string.h>

#include "simulator.h"

enum { SIDE_MAX = 16384 };

size_t line_bytes(uint32_t pixel_format, uint32_t width) {
    return ((size_t)width * (pixel_format >> 16 & 0xff) + 7) / 8; /* bits a pixel stand in the number (PFNC 2.4) */
}

/* Sensor counts for each brightness of the picture. */
static void fill_response(uint16_t response[256], const Exposure *exposure) {
    double scale = exposure->exposure_us / 5000.0 * pow(10.0, exposure->gain_db / 20.0);
    for (int value = 0; value < 256; value++) {
        double counts = floor((value * scale + exposure->black_level) * 16.0 + 1e-6);
        response[value] = (uint16_t)(counts < 0 ? 0 : counts > 4095 ? 4095 : counts);
    }
}

/* One line of the region as counts of red, green and blue. */
static void expose_line(const Picture *picture, const Exposure *exposure, const uint16_t response[256], uint32_t y,
                        uint16_t (*line)[3]) {
    uint32_t row = exposure->offset_y + y;
    for (uint32_t x = 0; x < exposure->width; x++) {
        uint32_t column = exposure->offset_x + (exposure->reverse_x ? exposure->width - 1 - x : x);
        if (row >= picture->height || column >= picture->width) {
            line[x][0] = line[x][1] = line[x][2] = 0;
            continue;
        }
        const uint8_t *pixel = picture->pixels + ((size_t)row * picture->width + column) * picture->channels;
        for (uint32_t channel = 0; channel < 3; channel++)
            line[x][channel] = response[pixel[picture->channels == 3 ? channel : 0]];
    }
}

static uint16_t grey(const uint16_t colour[3]) {
    if (colour[0] == colour[1] && colour[1] == colour[2]) return colour[0];
    return (uint16_t)((77u * colour[0] + 150u * colour[1] + 29u * colour[2]) >> 8);
}

/* The colour filter of Bayer RG: red, green in even lines, green, blue in odd ones. */
static uint16_t filtered(const uint16_t colour[3], uint32_t x, uint32_t y) {
    return colour[(x & 1) + (y & 1)];
}

static uint8_t clipped(double value) {
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value + 0.5);
}

/* Values of 10 or 12 bits one after the other, the lowest bits first (PFNC 2.4, "p"). */
static void pack(uint16_t (*line)[3], uint32_t width, uint32_t bits, uint8_t *out) {
    uint32_t held = 0, pending = 0;
    for (uint32_t x = 0; x < width; x++) {
        held |= (uint32_t)(grey(line[x]) >> (12 - bits)) << pending;
        for (pending += bits; pending >= 8; pending -= 8, held >>= 8) *out++ = (uint8_t)held;
    }
    if (pending > 0) *out = (uint8_t)held;
}

static void put_16(uint8_t *out, uint16_t value) {
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

/* YUV 4:2:2 as Y0 U Y1 V, full range (ITU-R BT.601 weights, JFIF 1.02 scale). */
static void put_yuv(uint16_t (*line)[3], uint32_t width, uint8_t *out) {
    for (uint32_t x = 0; x < width; x++) {
        const uint16_t *left = line[x & ~1u], *right = line[(x | 1) < width ? x | 1 : x];
        double red = (left[0] + right[0]) / 32.0, green = (left[1] + right[1]) / 32.0, blue = (left[2] + right[2]) / 32.0;
        out[2 * x] = clipped((0.299 * line[x][0] + 0.587 * line[x][1] + 0.114 * line[x][2]) / 16.0);
        out[2 * x + 1] = x & 1 ? clipped(128 + 0.5 * red - 0.418688 * green - 0.081312 * blue)
                               : clipped(128 - 0.168736 * red - 0.331264 * green + 0.5 * blue);
    }
}

static void put_line(uint16_t (*line)[3], uint32_t width, uint32_t y, uint32_t format, uint8_t *out) {
    if (format == MONO10P || format == MONO12P) {
        pack(line, width, format == MONO10P ? 10 : 12, out);
        return;
    }
    if (format == YUV422_8) {
        put_yuv(line, width, out);
        return;
    }
    for (uint32_t x = 0; x < width; x++) switch (format) {
        case MONO10: put_16(out + 2 * x, grey(line[x]) >> 2); break;
        case MONO12: put_16(out + 2 * x, grey(line[x])); break;
        case BAYER_RG8: out[x] = (uint8_t)(filtered(line[x], x, y) >> 4); break;
        case BAYER_RG10: put_16(out + 2 * x, filtered(line[x], x, y) >> 2); break;
        case BAYER_RG12: put_16(out + 2 * x, filtered(line[x], x, y)); break;
        case RGB8:
        case BGR8:
            for (uint32_t channel = 0; channel < 3; channel++)
                out[3 * x + channel] = (uint8_t)(line[x][format == RGB8 ? channel : 2 - channel] >> 4);
            break;
        case RGBA8:
            for (uint32_t channel = 0; channel < 3; channel++) out[4 * x + channel] = (uint8_t)(line[x][channel] >> 4);
            out[4 * x + 3] = 255;
            break;
        default: out[x] = (uint8_t)(grey(line[x]) >> 4); break;
    }
}

void render(const Picture *picture, const Exposure *exposure, uint8_t *out, uint32_t lines) {
    uint16_t response[256];
    static __thread uint16_t line[SIDE_MAX][3];
    size_t bytes = line_bytes(exposure->pixel_format, exposure->width);
    fill_response(response, exposure);
    bool as_it_is = exposure->pixel_format == MONO8 && picture->channels == 1 && !exposure->reverse_x &&
                    response[1] == 16 && response[0] == 0 && exposure->offset_x + exposure->width <= picture->width &&
                    exposure->offset_y + lines <= picture->height;
    for (uint32_t y = 0; y < lines; y++, out += bytes + exposure->padding) {
        if (as_it_is) { /* five million pixels, 200 times a second */
            size_t row = exposure->offset_y + y;
            memcpy(out, picture->pixels + row * picture->width + exposure->offset_x, bytes);
        } else {
            expose_line(picture, exposure, response, y, line);
            put_line(line, exposure->width, y, exposure->pixel_format, out);
        }
        memset(out + bytes, 0xa5, exposure->padding); /* what nobody may take for pixels */
    }
}
