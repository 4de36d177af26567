// SPDX-License-Identifier: MIT
// Nodes, strings and maps of C++ programs: built, searched, erased in another order, built again. With BENCH_LOOKUP=1 each
// block is looked up as it is allocated.
#include <cstdint>
#include <cstdlib>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "anydma.h"

static bool looks_up;

void *operator new(size_t size)
{
    void *block = malloc(size);
    if (!block || (looks_up && anydma_iova(block) == ANYDMA_BAD_IOVA))
        abort();
    return block;
}

void operator delete(void *block) noexcept
{
    free(block);
}

void operator delete(void *block, size_t) noexcept
{
    free(block);
}

struct node {
    std::unique_ptr<node> left, right;
    std::string name;
};

static std::unique_ptr<node> grow(unsigned depth, uint32_t &seed)
{
    auto made = std::make_unique<node>();
    seed = seed * 1664525 + 1013904223;
    made->name.assign(seed >> 27, 'n');
    if (depth > 0) {
        made->left = grow(depth - 1, seed);
        made->right = grow(depth - 1, seed);
    }
    return made;
}

int main()
{
    uint32_t seed = 1;
    size_t total = 0;
    const char *value = getenv("BENCH_LOOKUP");
    looks_up = value && *value == '1';
    for (int round = 0; round < 7; round++) {
        auto tree = grow(15, seed);
        std::map<uint32_t, std::string> ordered;
        std::unordered_map<std::string, std::vector<int>> hashed;
        std::list<std::string> recent;
        for (int i = 0; i < 40000; i++) {
            seed = seed * 1664525 + 1013904223;
            ordered[seed] = std::string(seed >> 26, 'v');
            hashed[std::to_string(seed >> 16)].push_back(i);
            recent.push_back(std::to_string(i));
            if (recent.size() > 1000)
                recent.pop_front();
            if (ordered.size() > 10000)
                ordered.erase(ordered.begin());
        }
        total += ordered.size() + hashed.size() + tree->name.size();
    }
    return total == 0;
}
