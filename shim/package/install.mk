# SPDX-License-Identifier: MIT
# make install and uninstall, the manual and the completions (which are made of the command's own tables), make deb. Included by
# the Makefile. Everything goes below $(DESTDIR)$(PREFIX), libraries to $(DESTDIR)$(LIBDIR).
LIBDIR ?= $(PREFIX)/lib
BINDIR ?= $(PREFIX)/bin
INCLUDEDIR ?= $(PREFIX)/include
LIBEXECDIR ?= $(PREFIX)/libexec
DATADIR ?= $(PREFIX)/share
DOCDIR ?= $(DATADIR)/doc/anydma
MANDIR ?= $(DATADIR)/man
# Where zsh looks: what a distribution brings, and what was installed beside it.
ZSHDIR ?= $(DATADIR)/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)

# --- the manual: pages of shim/package/man, in which @options COMMAND and @variables stand for what the command prints ------
MANUAL := $(patsubst shim/package/man/%.in,$(BUILD)/man/%,$(wildcard shim/package/man/*.in)) \
	$(patsubst shim/package/man/%,$(BUILD)/man/%,$(filter-out %.in,$(wildcard shim/package/man/*)))
$(BUILD)/man/%: shim/package/man/%.in $(BUILD)/anydma shim/package/manual.sh
	$(call compile,MAN,shim/package/manual.sh $(BUILD)/anydma $(VERSION) <$< >$@)
$(BUILD)/man/%: shim/package/man/% $(BUILD)/anydma shim/package/manual.sh
	$(call compile,MAN,shim/package/manual.sh $(BUILD)/anydma $(VERSION) <$< >$@)

COMPLETIONS := $(addprefix $(BUILD)/completions/anydma.,bash zsh fish)
$(BUILD)/completions/anydma.%: $(BUILD)/anydma
	@mkdir -p $(@D)
	@$< completion $* >$@

# In the build folder the library and the header are found where they are; where they are installed, there.
pc = printf '%s\n' 'prefix=$(1)' 'libdir=$(2)' 'includedir=$(3)' '' 'Name: anydma' \
	'Description: ordinary memory, ready for device DMA' 'Version: $(VERSION)' 'Cflags: -I$${includedir}' \
	'Libs: -L$${libdir} -lanydma'
$(BUILD)/anydma.pc: Makefile shim/package/install.mk
	@mkdir -p $(@D)
	@$(call pc,$(CURDIR),$(abspath $(BUILD)),$(CURDIR)/include) >$@

# --- what goes where: MODE SOURCE DESTINATION -------------------------------------------------------------------------------
INSTALLED_LIB := libanydma.so.$(VERSION)
define put
	@install -D -m $(1) $(2) $(DESTDIR)$(3)

endef
define files
$(call $(1),755,$(BUILD)/anydma,$(BINDIR)/anydma)
$(call $(1),755,$(BUILD)/anydma-report,$(LIBEXECDIR)/anydma/anydma-report)
$(call $(1),644,$(SHIM),$(LIBDIR)/$(INSTALLED_LIB))
$(call $(1),644,include/anydma.h,$(INCLUDEDIR)/anydma.h)
$(foreach p,$(MANUAL),$(call $(1),644,$(p),$(MANDIR)/man$(subst .,,$(suffix $(p)))/$(notdir $(p))))
$(call $(1),644,$(BUILD)/completions/anydma.bash,$(DATADIR)/bash-completion/completions/anydma)
$(call $(1),644,$(BUILD)/completions/anydma.zsh,$(ZSHDIR)/_anydma)
$(call $(1),644,$(BUILD)/completions/anydma.fish,$(DATADIR)/fish/vendor_completions.d/anydma.fish)
$(foreach e,$(wildcard shim/package/samples/*),$(call $(1),644,$(e),$(DOCDIR)/examples/$(notdir $(e))))
endef
define drop
	@rm -f $(DESTDIR)$(3)

endef

all: $(MANUAL) $(COMPLETIONS)
install: all
	@mkdir -p $(DESTDIR)$(BINDIR) 2>/dev/null && [ -w $(DESTDIR)$(BINDIR) ] || \
		{ echo "$(DESTDIR)$(BINDIR) can't be written: sudo make install, or make install PREFIX=\$$HOME/.local" >&2; exit 1; }
	$(call files,put)
	@ln -sf $(INSTALLED_LIB) $(DESTDIR)$(LIBDIR)/libanydma.so.0
	@ln -sf libanydma.so.0 $(DESTDIR)$(LIBDIR)/libanydma.so
	@ln -sf $(LIBDIR)/libanydma.so.0 $(DESTDIR)$(LIBEXECDIR)/anydma/libanydma.so.0
	@mkdir -p $(DESTDIR)$(LIBDIR)/pkgconfig
	@$(call pc,$(PREFIX),$(LIBDIR),$(INCLUDEDIR)) >$(DESTDIR)$(LIBDIR)/pkgconfig/anydma.pc
	@echo "installed below $(DESTDIR)$(PREFIX); samples of a udev rule, limits and a systemd drop-in are in $(DESTDIR)$(DOCDIR)/examples"
	@[ -n "$(DESTDIR)" ] || /sbin/ldconfig -p 2>/dev/null | grep -q ' $(LIBDIR)/libanydma.so.0$$' || \
		if [ "$$(id -u)" = 0 ] && grep -rqx '$(LIBDIR)' /etc/ld.so.conf.d; then \
			echo "so that the loader finds it for programs that link with -lanydma: ldconfig"; \
		else \
			echo "programs that link with -lanydma: add -Wl,-rpath,$(LIBDIR) (or to LD_LIBRARY_PATH; for all: its line in /etc/ld.so.conf.d, then ldconfig)"; \
		fi

# Empty folders of ours go, too.
uninstall:
	$(call files,drop)
	@rm -f $(DESTDIR)$(LIBDIR)/libanydma.so.0 $(DESTDIR)$(LIBDIR)/libanydma.so $(DESTDIR)$(LIBDIR)/pkgconfig/anydma.pc \
		$(DESTDIR)$(LIBEXECDIR)/anydma/libanydma.so.0
	@rmdir $(DESTDIR)$(LIBEXECDIR)/anydma $(DESTDIR)$(DOCDIR)/examples $(DESTDIR)$(DOCDIR) 2>/dev/null || true
	@echo "removed from $(DESTDIR)$(PREFIX)"

manual: $(MANUAL)
completions: $(COMPLETIONS)
.PHONY: install uninstall manual completions

# What the packages need is the group package of tests/deps.sh.
deb: needs-package
	@shim/package/deb.sh $(BUILD) $(VERSION)
.PHONY: deb
