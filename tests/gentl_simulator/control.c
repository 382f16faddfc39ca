/* The control socket: text commands, a line each, answered by "ok ..." or "error ...".
 *
 * It is the UNIX stream socket `control-PID` in the folder; each process that plays cameras has its own. The
 * commands, SERIAL first:
 *
 *   unplug SERIAL             the cable is pulled, until `plug`; kept in the file `cameras`
 *   plug SERIAL               the cable is back
 *   list                      read the file `cameras` again
 *   stall SERIAL MS           no frame for so long, triggers meanwhile are not seen; 0 ends it
 *   drop SERIAL COUNT         the next frames are lost on their way
 *   incomplete SERIAL COUNT   half of the lines of the next frames are missing
 *   duplicate SERIAL COUNT    the next frames come twice
 *   id SERIAL VALUE           the id of the next frame; from now on ids have 16 bits
 *   slow SERIAL MS            every frame takes so much longer
 *   padding SERIAL BYTES      bytes after each line; before the acquisition starts
 *   short SERIAL LINES COUNT  the next frames end after so many lines
 *   exposure SERIAL US        somebody else sets ExposureTime
 *   bufferinfo SERIAL 0|1     whether buffers tell frame id and timestamp, or only the chunks do
 *   missedids SERIAL 0|1      whether a trigger that the camera can't take uses up a frame id
 *   trigger SERIAL COUNT      pulses on Line1, all at once
 *   encoder SERIAL COUNTS     the belt moves
 *   state SERIAL              counters, as words and numbers
 *   crash SERIAL              the producer takes the process with it
 */
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "simulator.h"

enum { LOOK_MS = 20 };

static int listener = -1;
static volatile bool closing;
static pthread_t thread;
static struct sockaddr_un address;

/* With the lock. */
static void write_state(const Camera *camera, char *answer, size_t bytes) {
    snprintf(answer, bytes, "ok parts %llu missed %llu delivered %llu underruns %llu grabbing %d triggers %u queued %d lost %d\n",
             (unsigned long long)camera->parts, (unsigned long long)camera->missed,
             (unsigned long long)camera->delivered, (unsigned long long)camera->underruns, camera->grabbing && camera->acquiring, camera->triggers,
             camera->input_count, camera->lost);
}

/* With the lock. False if there is no such command. */
static bool inject(Camera *camera, const char *command, double value, double second) {
    Faults *faults = &camera->faults;
    uint32_t count = value > 0 ? (uint32_t)value : 0;
    if (strcmp(command, "unplug") == 0 || strcmp(command, "plug") == 0) {
        set_plugged(camera, command[0] == 'p');
        write_camera_list();
    } else if (strcmp(command, "stall") == 0) {
        faults->stalled_until_s = now_s() + value * 1e-3;
    } else if (strcmp(command, "drop") == 0) {
        faults->drop = count;
    } else if (strcmp(command, "incomplete") == 0) {
        faults->incomplete = count;
    } else if (strcmp(command, "duplicate") == 0) {
        faults->duplicate = count;
    } else if (strcmp(command, "id") == 0) {
        faults->ids_of_16_bits = true;
        camera->next_id = count;
    } else if (strcmp(command, "slow") == 0) {
        faults->slow_ms = count;
    } else if (strcmp(command, "padding") == 0) {
        faults->padding_bytes = count;
    } else if (strcmp(command, "short") == 0) {
        faults->short_lines = count;
        faults->short_frames = second > 0 ? (uint32_t)second : 0;
    } else if (strcmp(command, "exposure") == 0) {
        set_f64(camera, REG_EXPOSURE_TIME, value);
    } else if (strcmp(command, "bufferinfo") == 0) {
        faults->no_buffer_info = count == 0;
    } else if (strcmp(command, "missedids") == 0) {
        faults->missed_take_ids = count != 0;
    } else if (strcmp(command, "trigger") == 0) {
        line_pulse(camera, count);
    } else if (strcmp(command, "encoder") == 0) {
        turn_encoder(camera, count);
    } else if (strcmp(command, "crash") == 0) {
        abort();
    } else {
        return false;
    }
    pthread_cond_broadcast(&camera->wake);
    return true;
}

static void answer_line(const char *line, char *answer, size_t bytes) {
    char command[32] = "", serial[NAME_BYTES] = "";
    double value = 0, second = 0;
    sscanf(line, "%31s %31s %lf %lf", command, serial, &value, &second);
    pthread_mutex_lock(&lock);
    Camera *camera = find_camera(serial);
    snprintf(answer, bytes, "ok\n");
    if (strcmp(command, "list") == 0)
        read_camera_list();
    else if (camera == NULL)
        snprintf(answer, bytes, "error: there is no camera %s\n", serial);
    else if (strcmp(command, "state") == 0)
        write_state(camera, answer, bytes);
    else if (!inject(camera, command, value, second))
        snprintf(answer, bytes, "error: there is no command %s\n", command);
    pthread_mutex_unlock(&lock);
}

static bool readable(int descriptor) {
    struct pollfd look = {descriptor, POLLIN, 0};
    return poll(&look, 1, LOOK_MS) > 0;
}

/* Answers one client until it closes. */
static void serve(int client) {
    char text[1024], answer[256];
    size_t held = 0;
    while (!closing) {
        if (!readable(client)) continue;
        ssize_t got = read(client, text + held, sizeof text - 1 - held);
        if (got <= 0) return;
        held += (size_t)got;
        text[held] = '\0';
        for (char *end; (end = strchr(text, '\n')) != NULL;) {
            *end = '\0';
            answer_line(text, answer, sizeof answer);
            if (send(client, answer, strlen(answer), MSG_NOSIGNAL) < 0) return;
            held -= (size_t)(end + 1 - text);
            memmove(text, end + 1, held + 1);
        }
        if (held == sizeof text - 1) return; /* no command is so long */
    }
}

static void *listen_for_commands(void *nothing) {
    sigset_t all; /* the reader's signals are for the reader's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (!closing) {
        if (!readable(listener)) continue;
        int client = accept(listener, NULL, NULL);
        if (client < 0) continue;
        serve(client);
        close(client);
    }
    return nothing;
}

void open_control(void) {
    if (folder[0] == '\0') return;
    char path[sizeof folder + 32];
    int length = snprintf(path, sizeof path, "%s/control-%ld", folder, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof address.sun_path) {
        fprintf(stderr, "gentl_simulator: no control socket, %s is too long for one\n", path);
        return;
    }
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, (size_t)length);
    unlink(path);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    closing = false;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4) != 0 ||
        pthread_create(&thread, NULL, listen_for_commands, NULL) != 0) {
        perror("gentl_simulator: no control socket");
        if (listener >= 0) close(listener);
        listener = -1;
    }
}

void close_control(void) {
    if (listener < 0) return;
    closing = true;
    pthread_join(thread, NULL);
    close(listener);
    unlink(address.sun_path);
    listener = -1;
}
