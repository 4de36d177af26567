# SPDX-License-Identifier: MIT
# What tests/check.sh runs: one program for each source, found by wildcard. Included by the Makefile.

# Units link the modules without the doors, under ASan and UBSan; the VM's tests link them as they are.
SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FLAGS_san = $(BASE) $(SAN) -DANYDMA_BUILDING_SHIM -O1 -g
FLAGS_plain = $(BASE) $(CFLAGS) -DANYDMA_BUILDING_SHIM
define archive
$(BUILD)/$(1)/core.a: $(call obj,$(1),$(CORE_SRC))
	$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach t,san plain tsan libfuzzer,$(eval $(call archive,$t)))

UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/*_test.c))
$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/san/core.a | needs-unit
	$(call compile,CC,$(CC) -MF $@.d $(DEPENDENCIES) $(filter-out -Wmissing-prototypes,$(FLAGS_san)) -fvisibility=default \
		-o $@ $< $(BUILD)/san/core.a $(JEMALLOC) -lcriterion -lm -pthread)
$(BUILD)/tests/unit/usage_test: private JEMALLOC := $(BUILD)/libje.a $(BUILD)/san/core.a
$(BUILD)/tests/unit/usage_test: $(BUILD)/libje.a

VM_TESTS := $(patsubst tests/vm/%.c,$(BUILD)/tests/vm/%,$(wildcard tests/vm/*.c))
$(BUILD)/tests/vm/%: tests/vm/%.c $(EXAMPLE_OBJ) $(BUILD)/plain/core.a $(BUILD)/program.flags
	$(call compile,CC,$(call program,-Ishim) $(EXAMPLE_OBJ) $(BUILD)/plain/core.a -pthread)

# Written against a library like those that the bridges are for: it is found beside them.
$(BUILD)/tests/vm/bridges_%: tests/vm/bridges_%.c $(EXAMPLE_OBJ) $(BUILD)/tests/standins/lib%.so $(BUILD)/program.flags
	$(call compile,CC,$(call program) $(EXAMPLE_OBJ) $(call with_standin,$*) -pthread)

# --- run under the preload ----------------------------------------------------------------------------------------------
PRELOAD_TESTS := $(patsubst tests/preload/%,$(BUILD)/tests/preload/%,$(basename $(wildcard tests/preload/*.c tests/preload/*.cc)))
PRELOAD_LIBS := $(patsubst tests/preload/%,$(BUILD)/tests/preload/%.so,$(basename $(wildcard tests/preload/plugins/*.c \
	tests/preload/plugins/*.cc tests/preload/lib/*.c)))

$(BUILD)/tests/preload/%: tests/preload/%.c $(BUILD)/program.flags
	$(call compile,CC,$(call program,-fno-builtin $(EXPORTS)) -pthread)
$(BUILD)/tests/preload/no_bridges $(BUILD)/tests/preload/handlers $(BUILD)/tests/preload/sim_spaces: EXPORTS := -rdynamic # their functions, to a plugin and to the shim
cxx_program = $(CXX) -MF $@.d $(DEPENDENCIES) -std=c++17 -D_GNU_SOURCE -Wall -Wextra -Werror $(CFLAGS) -fno-builtin -Iinclude $(1) -o $@ $<
$(BUILD)/tests/preload/%: tests/preload/%.cc $(BUILD)/program.flags
	$(call compile,CXX,$(call cxx_program) -pthread)
# These bring the device that the simulated IOMMU looks for in the program.
$(BUILD)/tests/preload/routes_%: tests/preload/routes_%.c $(BUILD)/program.flags | needs-unit
	$(call compile,CC,$(call program,-fno-builtin -Ishim -rdynamic) -luring -pthread)
# Libraries like those that the bridges are for, and programs written against them, which keep the addresses that they call in
# read-only pages; the libraries themselves do not.
with_standin = -L$(BUILD)/tests/standins -l$(1) -Wl,-rpath,'$$ORIGIN/../standins'
STANDINS := $(patsubst tests/standins/%.c,$(BUILD)/tests/standins/lib%.so,$(wildcard tests/standins/*.c))
$(BUILD)/tests/standins/lib%.so: tests/standins/%.c $(BUILD)/program.flags
	$(call compile,CC,$(call program,-fPIC -shared) -Wl$(comma)-soname$(comma)lib$*.so -pthread)
$(BUILD)/tests/preload/bridges_%: tests/preload/bridges_%.c $(BUILD)/tests/standins/lib%.so $(BUILD)/program.flags | needs-unit
	$(call compile,CC,$(call program,-fno-builtin -Ishim -rdynamic) -Wl$(comma)-z$(comma)now $(call with_standin,$*) -luring -pthread)
# The same with the library linked into the program.
$(BUILD)/tests/preload/static_%: tests/preload/static_%.c tests/standins/%.c $(BUILD)/program.flags | needs-unit
	$(call compile,CC,$(call program,-fno-builtin -Ishim -rdynamic) tests/standins/$*.c -luring -pthread)
$(BUILD)/tests/preload/%.so: tests/preload/%.c $(BUILD)/program.flags
	$(call compile,CC,$(call program,-fno-builtin -fPIC -shared -Wno-missing-prototypes))
$(BUILD)/tests/preload/%.so: tests/preload/%.cc $(BUILD)/program.flags
	$(call compile,CXX,$(call cxx_program,-fPIC -shared))

# A shim that does nothing about its registry in a forked child.
$(BUILD)/tests/preload/lib/reset_off.so: tests/preload/lib/reset_off.c $(SHIM)
	$(call compile,LD,$(CC) -shared -o $@ $(CFLAGS) -fPIC $< $(SHIM_OBJ) $(BUILD)/libje.a -Wl$(comma)--wrap=dma_reset $(SHIM_LINK))

# The shim with its assertions, the ranks of its locks among them.
RANKED := $(BUILD)/ranked/libanydma.so.0
FLAGS_ranked = $(filter-out -DNDEBUG,$(FLAGS_pic))
$(BUILD)/ranked/shim/interpose/%.o: private EXTRA := -fvisibility=default
$(RANKED): $(call obj,ranked,$(CORE_SRC) $(DOOR_SRC)) $(BUILD)/libje.a shim/libanydma.map
	$(call say,LD,$@)
	$(Q)$(CC) -shared -o $@ $(call in_order,$(filter %.o,$^)) $(BUILD)/libje.a $(SHIM_LINK) $(LDFLAGS)

# Those that the packages of the group build suffice for, and the rest.
WITH_DEVICE := $(filter $(addprefix $(BUILD)/tests/preload/,routes_% bridges_% static_%),$(PRELOAD_TESTS))
tests-build: $(filter-out $(WITH_DEVICE),$(PRELOAD_TESTS)) $(PRELOAD_LIBS) $(STANDINS) $(VM_TESTS) $(PRODUCT)
tests: tests-build $(FUZZ_TESTS) $(UNIT_TESTS) $(WITH_DEVICE)
.PHONY: tests tests-build
