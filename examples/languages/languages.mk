# SPDX-License-Identifier: MIT
# The NVMe driver as a library, and the programs of other languages that call it. Included by the Makefile; `make` alone makes
# none of them: they need their languages.
RUSTC ?= rustc
JNA   ?= /usr/share/java/jna.jar

LANGUAGES := $(BUILD)/examples/languages
$(BUILD)/examples/libnvme.so: $(EXAMPLE_COMMON) $(wildcard examples/*.h) include/anydma.h $(BUILD)/program.flags
	$(call compile,LD,$(CC) $(FLAGS_program) -fPIC -shared -o $@ $(EXAMPLE_COMMON))
$(LANGUAGES)/nvme.node: examples/languages/nvme_node.c $(EXAMPLE_COMMON) $(wildcard examples/*.h) $(BUILD)/program.flags
	$(call compile,LD,$(CC) $(FLAGS_program) -fPIC -shared -o $@ $< $(EXAMPLE_COMMON))
beside_libnvme = -L$(BUILD)/examples -Wl,-rpath,'$$ORIGIN/..' -lnvme
$(LANGUAGES)/nvme_read_cc: examples/languages/nvme_read.cc $(BUILD)/examples/libnvme.so include/anydma.h
	$(call compile,CXX,$(CXX) -std=c++11 -Wall -Wextra -Werror $(CFLAGS) -Iinclude -o $@ $< $(beside_libnvme))
# rustc takes make's jobserver for its own.
$(LANGUAGES)/nvme_read_rs: examples/languages/nvme_read.rs $(BUILD)/examples/libnvme.so
	$(call compile,RUSTC,MAKEFLAGS= $(RUSTC) -O --edition 2018 -L $(BUILD)/examples -C link-arg=-Wl$(comma)-rpath$(comma)'$$ORIGIN/..' -o $@ $<)
$(LANGUAGES)/NvmeRead.class: examples/languages/NvmeRead.java
	$(call compile,JAVAC,javac -cp $(JNA) -d $(@D) $<)
