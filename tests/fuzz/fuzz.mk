# SPDX-License-Identifier: MIT
# The fuzzers: one random program, with the doors preloaded (doors), and with the shim's modules inside it (insides); libFuzzer
# over the same and over all that is parsed. Included by the Makefile.
FUZZ_PROGRAM := $(filter-out tests/fuzz/insides.c %_fuzzer.c %_tsan.c,$(wildcard tests/fuzz/*.c)) examples/vfio_device.c examples/iommufd.c
FUZZ_TESTS := $(addprefix $(BUILD)/tests/fuzz/,doors insides threads_tsan)
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/*_fuzzer.c))
fuzzers: $(FUZZERS)
fuzz: deps-build deps-unit deps-lint $(PRODUCT) $(FUZZ_TESTS) fuzzers
	@BUILD=$(BUILD) tests/fuzz/seeds.sh forever
.PHONY: fuzz fuzzers

$(BUILD)/tests/fuzz/doors: $(FUZZ_PROGRAM) $(wildcard tests/fuzz/*.h) tests/preload/device.h $(BUILD)/program.flags | needs-unit
	$(call compile,CC,$(CC) $(FLAGS_program) -Wno-missing-prototypes -I. -Ishim -fno-builtin -rdynamic -o $@ $(FUZZ_PROGRAM) -luring -pthread)

# --- with the modules inside ---------------------------------------------------------------------------------------------
FUZZ_BASE = $(filter-out -Wmissing-prototypes -DANYDMA_BUILDING_SHIM,$(1)) -I.
$(BUILD)/san/shim/interpose/%.o: private EXTRA := -fvisibility=default
$(BUILD)/san/tests/fuzz/%.o: tests/fuzz/%.c $(BUILD)/san.flags | needs-unit
	$(call compile,CC,$(CC) $(DEPENDENCIES) $(call FUZZ_BASE,$(FLAGS_san)) -c $< -o $@)

# The doors under other names: the sanitizers need the C library's.
define link_with_doors
	@mkdir -p $(@D)
	$(Q)ld -r -o $@.o $(filter %.o,$^)
	$(Q)nm -g --defined-only $(filter %.o,$^) | awk '$$2 == "T" && $$3 !~ /^(anydma_|main$$|LLVMFuzzer|__asan)/ {print $$3, "door_" $$3}' \
		| sort -u > $@.syms
	$(Q)objcopy --redefine-syms=$@.syms $@.o
endef
$(BUILD)/tests/fuzz/insides: $(call obj,san,$(filter-out %/malloc.c,$(DOOR_SRC)) $(FUZZ_PROGRAM) tests/fuzz/insides.c) $(BUILD)/san/core.a $(BUILD)/libje.a
	$(call say,LD,$@)
	$(link_with_doors)
	$(Q)$(CC) $(SAN) -rdynamic -o $@ $@.o -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -luring -lm -pthread

# ThreadSanitizer, on the modules below the doors: it places memory where the arena would.
FLAGS_tsan = $(BASE) -fsanitize=thread -DANYDMA_BUILDING_SHIM -O1 -g
$(BUILD)/tests/fuzz/%_tsan: tests/fuzz/%_tsan.c $(BUILD)/tsan/core.a
	$(call compile,CC,$(CC) -MF $@.d $(DEPENDENCIES) $(filter-out -Wmissing-prototypes,$(FLAGS_tsan)) -I. -o $@ $< $(BUILD)/tsan/core.a -pthread)

# --- libFuzzer, which comes with clang: that builds everything once more --------------------------------------------------
CC_libfuzzer := clang
NEEDS_libfuzzer := needs-lint
FLAGS_libfuzzer = $(filter-out -Werror -fvisibility=hidden,$(BASE)) -w -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=undefined -DANYDMA_BUILDING_SHIM -O1 -g
FUZZER_LINK := clang -fsanitize=fuzzer,address,undefined
$(BUILD)/libfuzzer/tests/%.o: tests/%.c $(BUILD)/libfuzzer.flags | needs-unit needs-lint
	$(call compile,CC,clang $(DEPENDENCIES) $(call FUZZ_BASE,$(FLAGS_libfuzzer)) -c $< -o $@)

$(BUILD)/tests/fuzz/program_fuzzer: $(call obj,libfuzzer,$(filter-out %/malloc.c,$(DOOR_SRC)) $(filter-out %/fuzz.c,$(FUZZ_PROGRAM)) \
		tests/fuzz/insides.c tests/fuzz/program_fuzzer.c) $(BUILD)/libfuzzer/core.a $(BUILD)/libje.a
	$(call say,LD,$@)
	$(link_with_doors)
	$(Q)$(FUZZER_LINK) -rdynamic -o $@ $@.o -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -luring -lm -pthread
# The command's reader, without the rest of it.
$(BUILD)/tests/fuzz/capture_fuzzer: $(patsubst %,$(BUILD)/libfuzzer/%.o,tests/fuzz/capture_fuzzer \
		shim/cli/text $(addprefix shim/cli/report/,reader progress model replay symbols view))
	$(call compile,LD,$(FUZZER_LINK) -o $@ $^ -ldw -lelf -liberty -lz -lm)
$(BUILD)/tests/fuzz/%_fuzzer: $(BUILD)/libfuzzer/tests/fuzz/%_fuzzer.o $(BUILD)/libfuzzer/core.a
	$(call compile,LD,$(FUZZER_LINK) -o $@ $^ -pthread)
