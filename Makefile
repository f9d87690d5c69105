# aquacis: make && make install && make installcheck   (PG_CONFIG=... picks the server)
#
# Everything that can be listed by pattern is: a new src/<part>/*.c, sql/*.sql,
# specs/*.spec, t/*.pl or aquacis--<from>--<to>.sql takes part by being there.

top := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

MODULE_big = aquacis
EXTENSION = aquacis aquacis_postgis
DATA = $(sort $(notdir $(wildcard $(top)/aquacis--*.sql $(top)/aquacis_postgis--*.sql)))
PGFILEDESC = "aquacis - modernise a legacy utility database from inside the server"

SOURCES = $(sort $(patsubst $(top)/%,%,$(wildcard $(top)/src/*.c $(top)/src/*/*.c)))
OBJS = $(SOURCES:.c=.o)

# the version of all that is here, from META.json
DISTVERSION := $(shell sed -n 's/^  "version": "\(.*\)",/\1/p' $(top)/META.json)
PG_CPPFLAGS = -I$(top)/src -DAQUACIS_VERSION='"$(DISTVERSION)"'
# Only what the server calls is exported (compat.h): the library shares its
# process with others, and whoever has a function of the same name first wins.
PG_CFLAGS = -std=gnu11 -fvisibility=hidden -Wall -Wextra -Wno-unused-parameter \
	-Wno-missing-field-initializers -Wno-sign-compare -Wno-cast-function-type

# "setup" creates the extensions; every other test finds them there.  Tests of
# aquacis_postgis run where PostGIS is installed.
PG_CONFIG ?= pg_config
have_postgis := $(wildcard $(shell $(PG_CONFIG) --sharedir)/extension/postgis.control)
regress_all = $(sort $(basename $(notdir $(wildcard $(top)/sql/*.sql))))
regress_postgis = $(filter legacy_postgis%,$(regress_all))
REGRESS = setup $(filter-out setup legacy_postgis%,$(regress_all)) \
	$(if $(have_postgis),$(regress_postgis))
# whatever the locale of the server that is asked
REGRESS_OPTS = --inputdir=$(top) --dbname=contrib_regression --encoding=UTF8 --no-locale
ISOLATION = $(sort $(basename $(notdir $(wildcard $(top)/specs/*.spec))))
ISOLATION_OPTS = --inputdir=$(top) --load-extension=aquacis --encoding=UTF8 --no-locale
# NO_TAP=1 leaves out the TAP tests, which start servers of their own and cannot as root
ifndef NO_TAP
TAP_TESTS = 1
endif
EXTRA_CLEAN = fuzz/build

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# A VPATH build needs the sub-folders of src/ on its own side.
$(shell mkdir -p $(sort $(dir $(OBJS))))

$(OBJS): $(sort $(wildcard $(top)/src/*.h $(top)/src/*/*.h))

# What scripts/test asks for, so that the lists above stand in one place.
.PHONY: list-regress list-isolation
list-regress:
	@echo $(REGRESS)
list-isolation:
	@echo $(ISOLATION)

# The distribution as PGXN wants it: one zip.
.PHONY: dist
dist:
	mkdir -p dist
	git -C $(top) archive --format=zip --prefix=aquacis-$(DISTVERSION)/ -o '$(CURDIR)/dist/aquacis-$(DISTVERSION).zip' HEAD
	@echo dist/aquacis-$(DISTVERSION).zip
