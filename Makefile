# SPDX-License-Identifier: MIT
# Builds everything below $(BUILD). `make help` lists what there is to make. What tests need is in tests/tests.mk, what the
# fuzzers need in tests/fuzz/fuzz.mk.
BUILD  ?= build
PREFIX ?= /usr/local
DESTDIR ?=
CC     ?= gcc
CXX    ?= g++
V      ?= 0
AW     ?= 48
KERNEL ?= 6.12
BACKEND ?= type1
VERSION := 0.1.0

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V))$(findstring s,$(firstword -$(MAKEFLAGS))),,@printf '  %-5s %s\n' $(1) $(2))
# $(call compile,WORD,COMMAND): a recipe that says WORD and its first prerequisite, and runs COMMAND.
define compile
	$(call say,$(1),$<)
	@mkdir -p $(@D)
	$(Q)$(2)
endef

comma := ,
WARN   := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
CFLAGS ?= -O2 -g
C11    := -std=c11 -D_GNU_SOURCE
BASE   := $(C11) $(WARN) -fvisibility=hidden -Ishim -Iinclude -DANYDMA_VERSION='"$(VERSION)"'

CORE_SRC := $(wildcard shim/base/*.c shim/iommu/*.c shim/dma/*.c shim/memory/*.c shim/profile/*.c)
DOOR_SRC := $(wildcard shim/interpose/*.c shim/interpose/bridges/*.c)
CLI_SRC  := $(wildcard shim/cli/*.c shim/cli/doctor/*.c) shim/base/settings.c
REPORT_SRC := $(wildcard shim/cli/report/*.c) shim/cli/text.c shim/cli/pages.c shim/cli/commands.c shim/base/settings.c
# What the examples and the VM tests share: each examples/*.h has a .c beside it.
EXAMPLE_COMMON := $(patsubst %.h,%.c,$(wildcard examples/*.h))
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(filter-out $(EXAMPLE_COMMON),$(wildcard examples/*.c)))
SHIM := $(BUILD)/libanydma.so.0
PRODUCT := $(SHIM) $(BUILD)/anydma $(BUILD)/anydma-report $(BUILD)/anydma.pc $(EXAMPLES)

all: needs-build $(PRODUCT)

help:
	@echo 'make              build the shim, the anydma command and the examples into $(BUILD)/'
	@echo 'make deps         install with apt what that needs (FOR="build unit vm ...": see tests/deps.sh)'
	@echo 'make demo         the main job: an unmodified device program, before and after, on real VFIO in a VM'
	@echo 'make check        every test (ONLY=text for those that have it in their name; V=1 shows commands)'
	@echo 'make check-all    the long ones too: sanitizers, linters, torture'
	@echo 'make fuzz         random programs against the model, and libFuzzer, until something is found'
	@echo 'make bench        figures beside their references (ONLY=name for one)'
	@echo "make vm CMD='...' run one command in the VM [AW=39|48] [KERNEL=6.1|6.12|newest|iommufd]"
	@echo '                  [BACKEND=type1|iommufd|compat] (tests/vm/run.sh has the rest)'
	@echo 'make install      to $$(DESTDIR)$$(PREFIX) (PREFIX=$(PREFIX); also LIBDIR=...); make uninstall'
	@echo 'make deb          Debian packages, into $(BUILD)/deb/'
	@echo 'make clean        remove $(BUILD)/ (but not the downloaded kernels: make distclean)'
	@echo 'Only deps, demo, check, check-all, fuzz, bench and vm install anything, and they say what.'

# --- what is missing: a build says so (needs-GROUP), and installs nothing --------------------------------------------
FOR ?= build
deps:
	@tests/deps.sh $(FOR)
deps-%:
	@tests/deps.sh $*
needs-%:
	@tests/deps.sh --check $*

# --- trees of objects: $(BUILD)/TREE/path/of/source.o, each compiled with FLAGS_TREE (by CC_TREE, after NEEDS_TREE) ------
# No builtin malloc: gcc would turn a calloc written as malloc+memset into a call to itself.
FLAGS_pic = $(BASE) $(CFLAGS) -DNDEBUG -fPIC -ftls-model=initial-exec -fno-builtin-malloc -DANYDMA_BUILDING_SHIM
FLAGS_cli = $(BASE) $(CFLAGS)

# Which headers a target is made of, under both of its names: scripts have an absolute BUILD.
DEPENDENCIES = -MMD -MP $(patsubst %,-MT %,$(sort $(abspath $@) $(patsubst $(CURDIR)/%,%,$(abspath $@))))

obj = $(patsubst %.c,$(BUILD)/$(1)/%.o,$(2))
define tree
$(BUILD)/$(1)/%.o: %.c $(BUILD)/$(1).flags | $(or $(NEEDS_$(1)),needs-build)
	$$(call compile,CC,$(or $(CC_$(1)),$$(CC)) $$(DEPENDENCIES) $$(FLAGS_$(1)) $$(EXTRA) -c $$< -o $$@)
endef

# Changes when the flags do: what was made with others is made again.
$(BUILD)/%.flags: FORCE
	@mkdir -p $(@D)
	@new=$@.$$$$; echo '$(subst ','\'',$(or $(CC_$*),$(CC)) $(FLAGS_$*) $(LDFLAGS))' >$$new; \
		cmp -s $$new $@ && rm $$new || mv $$new $@

# --- the shim -------------------------------------------------------------------------------------------------------
# jemalloc's names become jem_*, its page calls ours, and its reading of settings meant for other copies of it nobody's.
# What it keeps its own records in (base.pic.o) is no device's affair and comes from elsewhere; its extents (ehooks.pic.o) need
# no zeroed pages unless it asks for them. Its table of sizes is amended (jemalloc.pic.o), and it tells when a thread has come so far
# that it may allocate (tsd.pic.o). objcopy passes over a name that is not there, so all are looked for afterwards: another jemalloc
# would take pages behind our back.
JE_AMENDED := base.pic.o ehooks.pic.o jemalloc.pic.o tsd.pic.o
$(BUILD)/libje.a: shim/memory/jemalloc.syms Makefile $(BUILD)/pic.flags | needs-build
	$(call say,JE,$@)
	@mkdir -p $(@D)
	$(Q)objcopy --redefine-syms=$< $$($(CC) -print-file-name=libjemalloc_pic.a) $@
	$(Q)ar d $@ jemalloc_cpp.pic.o
	$(Q)cd $(@D) && ar x $(@F) $(JE_AMENDED) && \
		objcopy --redefine-sym je_extent_alloc_mmap=heap_metadata_map base.pic.o && \
		objcopy --redefine-sym je_extent_alloc_mmap=heap_extent_map ehooks.pic.o && \
		objcopy --redefine-sym je_sz_boot=heap_sizes_begin jemalloc.pic.o && \
		objcopy --redefine-sym je_tsd_tcache_enabled_data_init=heap_thread_begins tsd.pic.o && \
		ar r $(@F) $(JE_AMENDED) && rm $(JE_AMENDED)
	$(Q)nm $@ 2>/dev/null | awk 'NF > 1 {print $$NF}' | sort -u >$@.names
	$(Q){ awk '{print $$2}' $< && printf '%s\n' heap_metadata_map heap_extent_map heap_sizes_begin heap_thread_begins; } | sort | comm -23 - $@.names | \
		{ ! grep .; } || { echo "$@: these names are not in it: not the jemalloc (5.3) that shim/memory/heap.c knows" >&2; exit 1; }
	$(Q)awk '{print $$1}' $< | sort | comm -12 - $@.names | { ! grep .; } || { echo "$@: not renamed" >&2; exit 1; }

# Small variables lie together: objects are linked in the order of how much of them is zero at first, so that a start and a forked
# child touch few pages. The doors are what is exported; shim/libanydma.map says which of their names.
in_order = $$(size $(1) | awk 'NR > 1 {print $$3, $$NF}' | LC_ALL=C sort -n | cut -d' ' -f2)
$(BUILD)/pic/shim/interpose/%.o: private EXTRA := -fvisibility=default
SHIM_OBJ := $(call obj,pic,$(CORE_SRC) $(DOOR_SRC))
SHIM_LINK := -Wl,-soname,libanydma.so.0 -Wl,--version-script=shim/libanydma.map -Wl,-z,defs,-z,now,-z,relro -static-libgcc
$(SHIM): $(SHIM_OBJ) $(BUILD)/libje.a shim/libanydma.map
	$(call say,LD,$@)
	$(Q)$(CC) -shared -o $@ $(call in_order,$(SHIM_OBJ)) $(BUILD)/libje.a $(SHIM_LINK) $(LDFLAGS)
	$(Q)ln -sf libanydma.so.0 $(BUILD)/libanydma.so

# --- the command, and what is installed beside it ---------------------------------------------------------------------
# What reads captures is a program of its own: `anydma run` works where its libraries are not. ncurses, for top, is linked in
# where it can be.
NCURSES ?= $(foreach l,ncurses tinfo,$(filter /%,$(shell $(CC) -print-file-name=lib$(l).a)))
$(BUILD)/anydma: $(call obj,cli,$(CLI_SRC))
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $^ $(or $(NCURSES),-lncurses) -lm $(LDFLAGS)

$(BUILD)/anydma-report: $(call obj,cli,$(REPORT_SRC))
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $^ -ldw -lelf -ljansson -liberty -lz -lm $(LDFLAGS)

# D3 (Debian's node-d3) draws the page's charts; embedded: a report needs no network.
D3_JS ?= /usr/share/nodejs/d3/dist/d3.min.js
$(BUILD)/cli/shim/cli/report/html.o: private EXTRA := -DANYDMA_D3_JS='"$(D3_JS)"'
$(BUILD)/cli/shim/cli/report/html.o: $(wildcard shim/cli/report/page/*)

# --- examples and tests: one source each ------------------------------------------------------------------------------
FLAGS_program = $(C11) $(WARN) $(CFLAGS) -Iinclude -Iexamples
program = $(CC) -MF $@.d $(DEPENDENCIES) $(FLAGS_program) $(1) -o $@ $<
EXAMPLE_OBJ := $(call obj,program,$(EXAMPLE_COMMON))
$(BUILD)/examples/%: examples/%.c $(EXAMPLE_OBJ) $(BUILD)/program.flags
	$(call compile,CC,$(call program) $(EXAMPLE_OBJ) -pthread)

include shim/package/install.mk examples/languages/languages.mk tests/fuzz/fuzz.mk tests/tests.mk
$(foreach t,pic cli program ranked san plain tsan libfuzzer,$(eval $(call tree,$t)))

# --- commands ---------------------------------------------------------------------------------------------------------
# check, check-all and demo install what they need, or leave out what needs it and say so.
check:
	@+tests/check.sh $(if $(ONLY),--only '$(ONLY)')
check-all:
	@+tests/check.sh --all $(if $(ONLY),--only '$(ONLY)')
demo:
	@+tests/demo.sh

# What the command names below $(BUILD) is built first.
vm: deps-vm all $(filter $(BUILD)/%,$(subst ', ,$(value CMD)))
	@AW=$(AW) KERNEL=$(KERNEL) BACKEND=$(BACKEND) tests/vm/run.sh '$(subst ','\'',$(value CMD))'

bench: deps-build deps-unit
	@+tests/bench/run.sh $(ONLY)

format:
	clang-format -i include/*.h shim/*/*.[ch] examples/*.[ch] $(wildcard tests/*/*.[ch] tests/*/*/*.[ch])

clean:
	@find $(BUILD) -mindepth 1 -maxdepth 1 ! -name vm -exec rm -rf {} + 2>/dev/null || true
distclean:
	rm -rf $(BUILD)

FORCE:
.PHONY: FORCE all help deps check check-all demo vm bench format clean distclean
.SECONDARY:
.DELETE_ON_ERROR:
-include $(shell find $(BUILD) \( -path $(BUILD)/vm -o -path $(BUILD)/deb \) -prune -o -type f -name '*.d' -print 2>/dev/null)
