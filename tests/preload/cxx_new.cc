// SPDX-License-Identifier: MIT
// operator new and delete in every form come from the shim's heap, aligned as asked, and fail as C++ says.
#include "expect.h"

#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

struct alignas(64) Line {
    char bytes[192];
};
struct alignas(8192) Wide {
    char bytes[8192];
};

static bool is_served(const void *ptr, std::size_t align)
{
    return ptr && reinterpret_cast<std::uintptr_t>(ptr) % align == 0 && is_in_arena(ptr) &&
           anydma_iova(ptr) != ANYDMA_BAD_IOVA;
}

static void plain_forms()
{
    for (std::size_t size :
         {std::size_t(0), std::size_t(1), std::size_t(24), std::size_t(5000), std::size_t(3) << 20}) {
        void *one = ::operator new(size);
        void *many = ::operator new[](size);
        void *quiet = ::operator new(size, std::nothrow);
        EXPECT(is_served(one, 16) && is_served(many, 16) && is_served(quiet, 16) && one != many);
        ::operator delete(one, size);
        ::operator delete[](many);
        ::operator delete(quiet, std::nothrow);
    }
    ::operator delete(nullptr);
}

static void aligned_forms()
{
    for (std::size_t align = 1; align <= 1 << 20; align *= 4) {
        auto value = static_cast<std::align_val_t>(align);
        void *one = ::operator new(1000, value);
        void *quiet = ::operator new[](1000, value, std::nothrow);
        EXPECT(is_served(one, align) && is_served(quiet, align));
        ::operator delete(one, 1000, value);
        ::operator delete[](quiet, value, std::nothrow);
    }
    std::unique_ptr<Line[]> lines(new Line[33]);
    std::unique_ptr<Wide> wide(new Wide);
    EXPECT(is_served(lines.get(), 64) && is_served(wide.get(), 8192));
}

static int handler_calls;

static void give_up()
{
    handler_calls++;
    std::set_new_handler(nullptr);
}

static void failures()
{
    volatile std::size_t impossible = PTRDIFF_MAX;
    bool thrown = false;
    std::set_new_handler(give_up);
    try {
        ::operator delete(::operator new(impossible));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    EXPECT(thrown && handler_calls == 1);
    EXPECT(::operator new(impossible, std::nothrow) == nullptr);
    EXPECT(::operator new(impossible, std::align_val_t(64), std::nothrow) == nullptr);
}

static void containers()
{
    std::vector<std::string> words;
    std::vector<std::thread> threads;
    for (int i = 0; i < 20000; i++)
        words.push_back("a word that does not fit into the string itself, number " + std::to_string(i));
    EXPECT(is_served(words.data(), 8) && is_served(words.back().data(), 1));
    for (int n = 0; n < 4; n++)
        threads.emplace_back([n, &words] {
            for (int i = n; i < 20000; i += 4)
                words[i] += words[i]; // freed by this thread, allocated by another
        });
    for (auto &thread : threads)
        thread.join();
    bool right = true;
    for (int i = 0; i < 20000; i++) {
        std::string half = "a word that does not fit into the string itself, number " + std::to_string(i);
        right &= words[i] == half + half;
    }
    EXPECT(right);
}

int main()
{
    shim_must_be_there();
    behaviour("plain_and_sized_forms_are_served", plain_forms);
    behaviour("aligned_forms_are_served", aligned_forms);
    behaviour("failure_calls_the_new_handler_and_throws", failures);
    behaviour("containers_and_threads_work", containers);
    return behaviours_end();
}
