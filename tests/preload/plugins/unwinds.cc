// SPDX-License-Identifier: MIT
// A C++ library for a program in C: whatever unwinds a stack has to run its destructors.
#include <atomic>
#include <dlfcn.h>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <unwind.h>

namespace
{
std::atomic<int> nr_destroyed;
struct Guard {
    ~Guard()
    {
        nr_destroyed++;
    }
};

int begun[2]; // a pipe: the thread that is to be cancelled has come so far

void *is_cancelled(void *)
{
    Guard guard;
    std::string text(100, 'x');
    if (write(begun[1], "x", 1) == 1)
        for (;;)
            pause();
    return nullptr;
}

void *exits(void *)
{
    Guard guard;
    pthread_exit(nullptr);
}

void throw_from(int depth)
{
    Guard guard;
    if (depth > 1)
        throw_from(depth - 1);
    else
        throw std::runtime_error("thrown");
}
} // namespace

// The file of the unwinder that this library is bound to.
extern "C" const char *unwinds_by()
{
    Dl_info info;
    return dladdr(reinterpret_cast<void *>(&_Unwind_RaiseException), &info) ? info.dli_fname : "";
}

// How many destructors ran for an exception that passed 20 frames.
extern "C" int unwinds_throw()
{
    nr_destroyed = 0;
    try {
        throw_from(20);
    } catch (const std::exception &) {
        return nr_destroyed;
    }
    return -1;
}

// The same for the frame of a thread that is cancelled; -1 if it was not.
extern "C" int unwinds_cancel()
{
    char byte;
    void *result = nullptr;
    pthread_t thread;
    nr_destroyed = 0;
    if (pipe(begun) != 0 || pthread_create(&thread, nullptr, is_cancelled, nullptr) != 0 ||
        read(begun[0], &byte, 1) != 1)
        return -1;
    pthread_cancel(thread);
    pthread_join(thread, &result);
    return result == PTHREAD_CANCELED ? nr_destroyed.load() : -1;
}

// The same for a thread that calls pthread_exit.
extern "C" int unwinds_exit()
{
    pthread_t thread;
    nr_destroyed = 0;
    if (pthread_create(&thread, nullptr, exits, nullptr) != 0)
        return -1;
    pthread_join(thread, nullptr);
    return nr_destroyed;
}
