# SPDX-License-Identifier: MIT
# Builds everything below $(BUILD). `make help` lists what there is to make.
BUILD  ?= build
PREFIX ?= /usr/local
DESTDIR ?=
CC     ?= gcc
CXX    ?= g++
V      ?= 0
AW     ?= 48
KERNEL ?= 6.12
VERSION := 0.1.0

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' $(1) $(2))

WARN   := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
CFLAGS ?= -O2 -g
BASE_CFLAGS := -std=c11 -D_GNU_SOURCE $(WARN) -fvisibility=hidden -MMD -MP -Ishim -Iinclude -DANYDMA_VERSION='"$(VERSION)"'
# No builtin malloc: gcc would turn a calloc written as malloc+memset into a call to itself.
SHIM_CFLAGS := $(BASE_CFLAGS) -DNDEBUG -fPIC -ftls-model=initial-exec -fno-builtin-malloc -DANYDMA_BUILDING_SHIM

CORE_SRC := $(wildcard shim/base/*.c shim/iommu/*.c shim/dma/*.c shim/memory/*.c shim/profile/*.c)
DOOR_SRC := $(wildcard shim/interpose/*.c)
CLI_SRC  := $(wildcard shim/cli/*.c)
# What the examples and the VM tests share: each examples/*.h has a .c beside it.
EXAMPLE_COMMON := $(patsubst %.h,%.c,$(wildcard examples/*.h))
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(filter-out $(EXAMPLE_COMMON),$(wildcard examples/*.c)))
PRELOAD_LIBS := $(patsubst tests/preload/lib/%.c,$(BUILD)/tests/preload/lib/%.so,$(wildcard tests/preload/lib/*.c))
VM_TESTS := $(patsubst tests/vm/%.c,$(BUILD)/tests/vm/%,$(wildcard tests/vm/*.c))
PRELOAD_TESTS := $(patsubst tests/preload/%,$(BUILD)/tests/preload/%,$(basename $(wildcard tests/preload/*.c tests/preload/*.cc))) \
	$(patsubst tests/preload/plugins/%.c,$(BUILD)/tests/preload/plugins/%.so,$(wildcard tests/preload/plugins/*.c))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/*_test.c))

obj = $(patsubst %.c,$(BUILD)/$(1)/%.o,$(2))
SHIM_OBJ := $(call obj,pic,$(CORE_SRC) $(DOOR_SRC))
UNIT_CORE_OBJ := $(call obj,san,$(CORE_SRC))
CLI_OBJ := $(call obj,cli,$(CLI_SRC))
SHIM := $(BUILD)/libanydma.so.0
PRODUCT := $(SHIM) $(BUILD)/anydma $(BUILD)/anydma.pc $(EXAMPLES)

all: needs-build $(PRODUCT)

help:
	@echo 'make              build the shim, the anydma command and the examples into $(BUILD)/'
	@echo 'make deps         install with apt what that needs (FOR="build unit vm ...": see tests/deps.sh); only this, demo, check,'
	@echo '                  check-all, fuzz, bench and vm ever install anything'
	@echo 'make demo         the main job: an unmodified device program, before and after, on real VFIO in a VM'
	@echo 'make check        every test (V=1 shows commands)'
	@echo 'make check-all    the long ones too: sanitizers, linters, torture'
	@echo 'make fuzz         random programs against the model, and libFuzzer, until something is found'
	@echo 'make bench        figures beside their references (ONLY=name for one)'
	@echo "make vm CMD='...' run one command in the VM [AW=39|48] [KERNEL=6.1|6.12]"
	@echo 'make install      to $$(DESTDIR)$$(PREFIX) (PREFIX=$(PREFIX))'
	@echo 'make clean        remove $(BUILD)/ (but not the downloaded kernels: make distclean)'

# --- what is missing: a build says so (needs-GROUP), and installs nothing --------------------------------------------
FOR ?= build
deps:
	@tests/deps.sh $(FOR)
deps-%:
	@tests/deps.sh $*
needs-%:
	@tests/deps.sh --check $*

# --- the shim -------------------------------------------------------------------------------------------------------
# jemalloc's names become je_*, its page calls ours, and its reading of settings meant for other copies of it nobody's.
# What it keeps its own records in (base.pic.o) is no device's affair and comes from elsewhere; its extents (ehooks.pic.o) need
# no zeroed pages unless it asks for them.
$(BUILD)/libje.a: shim/memory/jemalloc.syms Makefile | needs-build
	$(call say,JE,$@)
	@mkdir -p $(@D)
	$(Q)objcopy --redefine-syms=$< $$($(CC) -print-file-name=libjemalloc_pic.a) $@
	$(Q)ar d $@ jemalloc_cpp.pic.o
	$(Q)cd $(@D) && ar x $(@F) base.pic.o ehooks.pic.o && \
		objcopy --redefine-sym je_extent_alloc_mmap=heap_metadata_map base.pic.o && \
		objcopy --redefine-sym je_extent_alloc_mmap=heap_extent_map ehooks.pic.o && \
		ar r $(@F) base.pic.o ehooks.pic.o && rm base.pic.o ehooks.pic.o

$(SHIM): $(SHIM_OBJ) $(BUILD)/libje.a shim/libanydma.map
	$(call say,LD,$@)
	$(Q)$(CC) -shared -o $@ $(SHIM_OBJ) $(BUILD)/libje.a -Wl,-soname,libanydma.so.0 -Wl,--version-script=shim/libanydma.map \
		-Wl,-z,defs,-z,now,-z,relro -static-libgcc -lm -lunwind $(LDFLAGS)
	$(Q)ln -sf libanydma.so.0 $(BUILD)/libanydma.so

# The doors are what is exported; shim/libanydma.map says which of their names.
$(BUILD)/pic/shim/interpose/%.o: SHIM_CFLAGS += -fvisibility=default

$(BUILD)/pic/%.o: %.c | needs-build
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SHIM_CFLAGS) $(CFLAGS) -c $< -o $@

$(BUILD)/anydma: $(CLI_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(CLI_OBJ) -ldw -lelf -ljansson -lncurses -lz -lm -lstdc++ $(LDFLAGS)

# The page's chart library (Debian's libjs-chart.js), embedded: a report needs no network.
CHART_JS ?= $(firstword $(wildcard /usr/share/javascript/chart.js/chart.min.js /usr/share/javascript/chart.js/[Cc]hart*.js) /usr/share/javascript/chart.js/chart.min.js)
$(BUILD)/cli/shim/cli/html.o: BASE_CFLAGS += -DANYDMA_CHART_JS='"$(CHART_JS)"'
$(BUILD)/cli/shim/cli/html.o: shim/cli/page/report.html shim/cli/page/report.js

$(BUILD)/cli/%.o: %.c | needs-build
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) -c $< -o $@

$(BUILD)/anydma.pc: Makefile
	@mkdir -p $(@D)
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' 'Name: anydma' \
		'Description: ordinary memory, ready for device DMA' 'Version: $(VERSION)' 'Cflags: -I$${includedir}' \
		'Libs: -L$${libdir} -lanydma' > $@

# --- examples and tests ---------------------------------------------------------------------------------------------
$(BUILD)/examples/%: examples/%.c $(wildcard $(EXAMPLE_COMMON) examples/*.h) include/anydma.h
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -Iinclude -Iexamples -o $@ $< $(wildcard $(EXAMPLE_COMMON)) -pthread

$(BUILD)/tests/vm/%: tests/vm/%.c $(wildcard $(EXAMPLE_COMMON) examples/*.h tests/vm/*.h tests/preload/*.h) include/anydma.h $(BUILD)/san/core.a
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -Iinclude -Iexamples -Ishim -o $@ $< $(wildcard $(EXAMPLE_COMMON)) \
		$(BUILD)/plain/core.a -pthread -lunwind

$(BUILD)/tests/preload/%: tests/preload/%.c include/anydma.h $(wildcard tests/preload/*.h)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -fno-builtin -Iinclude -o $@ $< -pthread

# These bring the device that the simulated IOMMU looks for in the program.
$(BUILD)/tests/preload/routes_%: tests/preload/routes_%.c include/anydma.h $(wildcard tests/preload/*.h)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -fno-builtin -Iinclude -Ishim -o $@ $< -rdynamic -luring -pthread

$(BUILD)/tests/preload/lib/%.so: tests/preload/lib/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror $(CFLAGS) -fPIC -shared -o $@ $<

# A shim that does nothing about its registry in a forked child.
$(BUILD)/tests/preload/lib/reset_off.so: tests/preload/lib/reset_off.c $(SHIM)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -o $@ $(CFLAGS) -fPIC $< $(SHIM_OBJ) $(BUILD)/libje.a -Wl,--wrap=registry_reset -Wl,-soname,libanydma.so.0 \
		-Wl,--version-script=shim/libanydma.map -Wl,-z,defs,-z,now,-z,relro -static-libgcc -lm -lunwind

$(BUILD)/tests/preload/%: tests/preload/%.cc include/anydma.h $(wildcard tests/preload/*.h)
	$(call say,CXX,$<)
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=c++17 -D_GNU_SOURCE -Wall -Wextra -Werror $(CFLAGS) -fno-builtin -Iinclude -o $@ $< -pthread

$(BUILD)/tests/preload/plugins/%.so: tests/preload/plugins/%.c include/anydma.h
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -fno-builtin -Iinclude -fPIC -shared -o $@ $<

# Units link the modules without the doors, under ASan and UBSan.
SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
$(BUILD)/san/%.o: %.c | needs-build
	$(call say,CCSAN,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(SAN) -DANYDMA_BUILDING_SHIM -O1 -g -c $< -o $@
$(BUILD)/san/core.a: $(UNIT_CORE_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^
$(BUILD)/plain/%.o: %.c | needs-build
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) -DANYDMA_BUILDING_SHIM -c $< -o $@
$(BUILD)/plain/core.a: $(call obj,plain,$(CORE_SRC))
	$(Q)rm -f $@ && ar rcs $@ $^
$(VM_TESTS): $(BUILD)/plain/core.a
$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/san/core.a | needs-unit
	$(call say,CCSAN,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -Wmissing-prototypes,$(BASE_CFLAGS)) -fvisibility=default $(SAN) -DANYDMA_BUILDING_SHIM -O1 -g -o $@ $< \
		$(BUILD)/san/core.a -lcriterion -lunwind -pthread

# --- the fuzzers: one random program, with the doors preloaded, and with the shim's modules inside it -------------------
FUZZ_PROGRAM := $(filter-out tests/fuzz/insides.c %_fuzzer.c %_tsan.c,$(wildcard tests/fuzz/*.c))
FUZZ_FLAGS := $(filter-out -Wmissing-prototypes,$(BASE_CFLAGS)) -I.
FUZZ_TESTS := $(addprefix $(BUILD)/tests/fuzz/,doors insides threads_tsan)
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/*_fuzzer.c))
INSIDES_OBJ := $(call obj,san,$(filter-out %/malloc.c,$(DOOR_SRC)) $(FUZZ_PROGRAM) tests/fuzz/insides.c)

$(BUILD)/tests/fuzz/doors: $(FUZZ_PROGRAM) $(wildcard tests/fuzz/*.h) tests/preload/device.h | needs-unit
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(FUZZ_FLAGS)) $(CFLAGS) -fno-builtin -rdynamic -o $@ $(FUZZ_PROGRAM) -luring -pthread
$(BUILD)/san/shim/interpose/%.o: BASE_CFLAGS += -fvisibility=default
$(BUILD)/san/tests/fuzz/%.o: tests/fuzz/%.c | needs-unit
	$(call say,CCSAN,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(FUZZ_FLAGS) $(SAN) -O1 -g -c $< -o $@
# The doors under other names: the sanitizers need the C library's.
define link_with_doors
	@mkdir -p $(@D)
	$(Q)ld -r -o $@.o $(filter %.o,$^)
	$(Q)nm -g --defined-only $(filter %.o,$^) | awk '$$2 == "T" && $$3 !~ /^(anydma_|main$$|LLVMFuzzer|__asan)/ {print $$3, "door_" $$3}' \
		| sort -u > $@.syms
	$(Q)objcopy --redefine-syms=$@.syms $@.o
endef
$(BUILD)/tests/fuzz/insides: $(INSIDES_OBJ) $(BUILD)/san/core.a $(BUILD)/libje.a
	$(call say,LD,$@)
	$(link_with_doors)
	$(Q)$(CC) $(SAN) -rdynamic -o $@ $@.o -Wl,--start-group $(BUILD)/san/core.a $(BUILD)/libje.a -Wl,--end-group -luring -lunwind -lm -pthread

# ThreadSanitizer, on the modules below the doors: it places memory where the arena would.
$(BUILD)/tsan/shim/%.o: shim/%.c | needs-build
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) -fsanitize=thread -DANYDMA_BUILDING_SHIM -O1 -g -c $< -o $@
$(BUILD)/tsan/core.a: $(call obj,tsan,$(CORE_SRC))
	$(Q)rm -f $@ && ar rcs $@ $^
$(BUILD)/tests/fuzz/%_tsan: tests/fuzz/%_tsan.c $(BUILD)/tsan/core.a
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(FUZZ_FLAGS)) -fsanitize=thread -DANYDMA_BUILDING_SHIM -O1 -g -o $@ $< $(BUILD)/tsan/core.a -lunwind -pthread

# libFuzzer comes with clang, which builds everything once more.
FUZZER_SAN := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FUZZER_OBJ := $(call obj,libfuzzer,$(CORE_SRC))
FUZZER_DOORS := $(call obj,libfuzzer,$(filter-out %/malloc.c,$(DOOR_SRC)) $(filter-out %/fuzz.c,$(FUZZ_PROGRAM)) \
	tests/fuzz/insides.c tests/fuzz/program_fuzzer.c)
$(BUILD)/libfuzzer/shim/%.o: shim/%.c | needs-lint
	@mkdir -p $(@D)
	$(Q)clang $(filter-out -Werror -fvisibility=hidden,$(BASE_CFLAGS)) -w $(FUZZER_SAN) -DANYDMA_BUILDING_SHIM -O1 -g -c $< -o $@
$(BUILD)/libfuzzer/tests/%.o: tests/%.c | needs-unit needs-lint
	@mkdir -p $(@D)
	$(Q)clang $(filter-out -Werror,$(FUZZ_FLAGS)) -w $(FUZZER_SAN) -O1 -g -c $< -o $@
$(BUILD)/libfuzzer/core.a: $(FUZZER_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^
$(BUILD)/tests/fuzz/program_fuzzer: $(FUZZER_DOORS) $(BUILD)/libfuzzer/core.a $(BUILD)/libje.a
	$(call say,LD,$@)
	$(link_with_doors)
	$(Q)clang -fsanitize=fuzzer,address,undefined -rdynamic -o $@ $@.o -Wl,--start-group $(BUILD)/libfuzzer/core.a $(BUILD)/libje.a \
		-Wl,--end-group -luring -lunwind -lm -pthread
# The command's reader, without the rest of it.
$(BUILD)/tests/fuzz/capture_fuzzer: $(patsubst %,$(BUILD)/libfuzzer/%.o,tests/fuzz/capture_fuzzer \
		$(addprefix shim/cli/,reader progress model replay symbols view))
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)clang -fsanitize=fuzzer,address,undefined -o $@ $^ -ldw -lelf -lz -lm -lstdc++
$(BUILD)/tests/fuzz/%_fuzzer: $(BUILD)/libfuzzer/tests/fuzz/%_fuzzer.o $(BUILD)/libfuzzer/core.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)clang -fsanitize=fuzzer,address,undefined -o $@ $^ -lunwind -pthread

# Those that the packages of the group build suffice for, and the rest.
TESTS_OF_UNIT := $(FUZZ_TESTS) $(UNIT_TESTS) $(filter $(BUILD)/tests/preload/routes_%,$(PRELOAD_TESTS))
tests-build: $(filter-out $(TESTS_OF_UNIT),$(PRELOAD_TESTS)) $(PRELOAD_LIBS) $(VM_TESTS) $(PRODUCT)
tests: tests-build $(TESTS_OF_UNIT)

# These two, and demo, install what they need, or leave out what needs it and say so.
check:
	@+tests/check.sh
check-all:
	@+tests/check.sh --all

fuzzers: $(FUZZERS)
fuzz: deps-build deps-unit deps-lint $(PRODUCT) $(FUZZ_TESTS) fuzzers
	@BUILD=$(BUILD) tests/fuzz/seeds.sh forever

demo:
	@+tests/demo.sh

# What the command names below $(BUILD) is built first.
vm: deps-vm all $(filter $(BUILD)/%,$(subst ', ,$(value CMD)))
	@AW=$(AW) KERNEL=$(KERNEL) tests/vm/run.sh '$(subst ','\'',$(value CMD))'

bench: deps-build deps-unit
	@+tests/bench/run.sh $(ONLY)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include \
		$(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 644 shim/cli/anydma.1 $(DESTDIR)$(PREFIX)/share/man/man1/anydma.1
	install -m 644 shim/cli/anydma-capture.5 $(DESTDIR)$(PREFIX)/share/man/man5/anydma-capture.5
	install -m 755 $(BUILD)/anydma $(DESTDIR)$(PREFIX)/bin/anydma
	install -m 755 $(SHIM) $(DESTDIR)$(PREFIX)/lib/libanydma.so.0
	ln -sf libanydma.so.0 $(DESTDIR)$(PREFIX)/lib/libanydma.so
	install -m 644 include/anydma.h $(DESTDIR)$(PREFIX)/include/anydma.h
	install -m 644 $(BUILD)/anydma.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/anydma.pc

format:
	clang-format -i include/*.h shim/*/*.[ch] examples/*.[ch] $(wildcard tests/*/*.[ch] tests/*/*/*.[ch])

clean:
	@find $(BUILD) -mindepth 1 -maxdepth 1 ! -name vm -exec rm -rf {} + 2>/dev/null || true
distclean:
	rm -rf $(BUILD)

.PHONY: all help deps tests tests-build check check-all fuzz fuzzers demo vm bench install format clean distclean
.SECONDARY:
.DELETE_ON_ERROR:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
