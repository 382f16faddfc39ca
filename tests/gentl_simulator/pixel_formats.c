/* From a picture to the bytes that the camera sends: exposure and gain, region, pixel format, padding.
 *
 * The sensor counts in 12 bits; at 5000 us and 0 dB its upper 8 bits are the picture.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <string.h>

#include "simulator.h"

enum { SIDE_MAX = 16384 };

/* How values lie in a line: bytes or words of their own; bits one after the other (PFNC's "p"); pairs of GigE Vision 1
   ("Packed"); or several colours a pixel. */
typedef enum { BYTES, WORDS, BITS, PAIRS, RGB, BGR, RGBA, YUYV, UYVY } Packing;

typedef struct {
    uint32_t number; /* Pixel Format Naming Convention 2.4 */
    uint32_t depth;
    Packing packing;
    const char *cell; /* colours of the upper left four pixels, line by line; NULL for grey */
} Format;

static const Format formats[] = {
    {MONO8, 8, BYTES, NULL},
    {0x01100003, 10, WORDS, NULL}, /* Mono10 */
    {0x01100005, 12, WORDS, NULL},
    {0x010A0046, 10, BITS, NULL}, /* Mono10p */
    {0x010C0047, 12, BITS, NULL},
    {0x010C0004, 10, PAIRS, NULL}, /* Mono10Packed */
    {0x010C0006, 12, PAIRS, NULL},
    {0x01080008, 8, BYTES, "GRBG"}, /* BayerGR8 */
    {0x01080009, 8, BYTES, "RGGB"},
    {0x0108000A, 8, BYTES, "GBRG"},
    {0x0108000B, 8, BYTES, "BGGR"},
    {0x0110000C, 10, WORDS, "GRBG"}, /* BayerGR10 */
    {0x0110000D, 10, WORDS, "RGGB"},
    {0x0110000E, 10, WORDS, "GBRG"},
    {0x0110000F, 10, WORDS, "BGGR"},
    {0x01100010, 12, WORDS, "GRBG"}, /* BayerGR12 */
    {0x01100011, 12, WORDS, "RGGB"},
    {0x01100012, 12, WORDS, "GBRG"},
    {0x01100013, 12, WORDS, "BGGR"},
    {0x010A0056, 10, BITS, "GRBG"}, /* BayerGR10p */
    {0x010A0058, 10, BITS, "RGGB"},
    {0x010A0054, 10, BITS, "GBRG"},
    {0x010A0052, 10, BITS, "BGGR"},
    {0x010C0057, 12, BITS, "GRBG"}, /* BayerGR12p */
    {0x010C0059, 12, BITS, "RGGB"},
    {0x010C0055, 12, BITS, "GBRG"},
    {0x010C0053, 12, BITS, "BGGR"},
    {0x010C0026, 10, PAIRS, "GRBG"}, /* BayerGR10Packed */
    {0x010C0027, 10, PAIRS, "RGGB"},
    {0x010C0028, 10, PAIRS, "GBRG"},
    {0x010C0029, 10, PAIRS, "BGGR"},
    {0x010C002A, 12, PAIRS, "GRBG"}, /* BayerGR12Packed */
    {0x010C002B, 12, PAIRS, "RGGB"},
    {0x010C002C, 12, PAIRS, "GBRG"},
    {0x010C002D, 12, PAIRS, "BGGR"},
    {0x02180014, 8, RGB, NULL},
    {0x02180015, 8, BGR, NULL},
    {0x02200016, 8, RGBA, NULL},
    {0x02100032, 8, YUYV, NULL}, /* YUV422_8 */
    {0x0210001F, 8, UYVY, NULL}, /* YUV422_8_UYVY */
};

static const Format *format_of(uint32_t number) {
    for (size_t index = 0; index < sizeof formats / sizeof *formats; index++)
        if (formats[index].number == number) return &formats[index];
    return &formats[0];
}

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

/* What the pixel counts behind its colour filter, if there is one, in as many bits as the format has. */
static uint16_t counts(const Format *format, const uint16_t colour[3], uint32_t x, uint32_t y) {
    uint16_t value = grey(colour);
    if (format->cell != NULL) {
        char filter = format->cell[2 * (y & 1) + (x & 1)];
        value = colour[filter == 'R' ? 0 : filter == 'G' ? 1 : 2];
    }
    return (uint16_t)(value >> (12 - format->depth));
}

static uint8_t clipped(double value) {
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value + 0.5);
}

/* Values one after the other, the lowest bits first. */
static void put_bits(const uint16_t *values, uint32_t width, uint32_t depth, uint8_t *out) {
    uint32_t held = 0, pending = 0;
    for (uint32_t x = 0; x < width; x++) {
        held |= (uint32_t)values[x] << pending;
        for (pending += depth; pending >= 8; pending -= 8, held >>= 8) *out++ = (uint8_t)held;
    }
    if (pending > 0) *out = (uint8_t)held;
}

/* Two values in three bytes: the upper 8 bits of each, and between them the lower bits of both. */
static void put_pairs(const uint16_t *values, uint32_t width, uint32_t depth, uint8_t *out) {
    uint32_t low = depth - 8, mask = (1u << low) - 1;
    for (uint32_t x = 0; x + 1 < width; x += 2) {
        *out++ = (uint8_t)(values[x] >> low);
        *out++ = (uint8_t)((values[x] & mask) | (values[x + 1] & mask) << 4);
        *out++ = (uint8_t)(values[x + 1] >> low);
    }
}

/* YUV 4:2:2, full range (ITU-R BT.601 weights, JFIF 1.02 scale): brightness of each pixel, colour of two. */
static void put_yuv(uint16_t (*line)[3], uint32_t width, bool brightness_first, uint8_t *out) {
    for (uint32_t x = 0; x < width; x++) {
        const uint16_t *left = line[x & ~1u], *right = line[(x | 1) < width ? x | 1 : x];
        double red = (left[0] + right[0]) / 32.0, green = (left[1] + right[1]) / 32.0, blue = (left[2] + right[2]) / 32.0;
        uint8_t colour = x & 1 ? clipped(128 + 0.5 * red - 0.418688 * green - 0.081312 * blue)
                               : clipped(128 - 0.168736 * red - 0.331264 * green + 0.5 * blue);
        out[2 * x + !brightness_first] = clipped((0.299 * line[x][0] + 0.587 * line[x][1] + 0.114 * line[x][2]) / 16.0);
        out[2 * x + brightness_first] = colour;
    }
}

/* Whole colours: 3 bytes a pixel, and a fourth where the format has one. */
static void put_colours(uint16_t (*line)[3], uint32_t width, Packing packing, uint8_t *out) {
    for (uint32_t x = 0; x < width; x++) {
        for (uint32_t channel = 0; channel < 3; channel++)
            *out++ = (uint8_t)(line[x][packing == BGR ? 2 - channel : channel] >> 4);
        if (packing == RGBA) *out++ = 255;
    }
}

static void put_line(uint16_t (*line)[3], uint32_t width, uint32_t y, const Format *format, uint8_t *out) {
    static __thread uint16_t values[SIDE_MAX];
    if (format->packing >= YUYV) {
        put_yuv(line, width, format->packing == YUYV, out);
        return;
    }
    if (format->packing >= RGB) {
        put_colours(line, width, format->packing, out);
        return;
    }
    for (uint32_t x = 0; x < width; x++) values[x] = counts(format, line[x], x, y);
    if (format->packing == BITS)
        put_bits(values, width, format->depth, out);
    else if (format->packing == PAIRS)
        put_pairs(values, width, format->depth, out);
    else
        for (uint32_t x = 0; x < width; x++) {
            *out++ = (uint8_t)values[x];
            if (format->packing == WORDS) *out++ = (uint8_t)(values[x] >> 8);
        }
}

void render(const Picture *picture, const Exposure *exposure, uint8_t *out, uint32_t lines) {
    uint16_t response[256];
    static __thread uint16_t line[SIDE_MAX][3];
    size_t bytes = line_bytes(exposure->pixel_format, exposure->width);
    const Format *format = format_of(exposure->pixel_format);
    fill_response(response, exposure);
    bool as_it_is = exposure->pixel_format == MONO8 && picture->channels == 1 && !exposure->reverse_x &&
                    response[255] == 255 * 16 && response[0] == 0 && exposure->offset_x + exposure->width <= picture->width &&
                    exposure->offset_y + lines <= picture->height;
    for (uint32_t y = 0; y < lines; y++, out += bytes + exposure->padding) {
        if (as_it_is) { /* five million pixels, 200 times a second */
            size_t row = exposure->offset_y + y;
            memcpy(out, picture->pixels + row * picture->width + exposure->offset_x, bytes);
        } else {
            expose_line(picture, exposure, response, y, line);
            put_line(line, exposure->width, y, format, out);
        }
        memset(out + bytes, 0xa5, exposure->padding); /* what nobody may take for pixels */
    }
}
