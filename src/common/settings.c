/*
 * settings.c
 *	  Settings of the session, changed for a while.
 *
 * What is set after SettingsBegin() is undone by SettingsEnd(), and with it whatever
 * code of others has changed meanwhile, even if it asked for that to stay.  After an
 * error the end of the (sub)transaction takes its place.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "common/settings.h"

/* Begins a level of settings; the result is for SettingsEnd(). */
int
SettingsBegin(void)
{
	return NewGUCNestLevel();
}

/* One setting, until the level ends. */
void
SettingsSet(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

/*
 * Begins a level in which what the server writes as text (a definition, a default
 * in it, a value) is what it reads back, whatever the session's settings were at
 * either time; names mean what they meant, and are written qualified where they are
 * not the server's.
 */
int
SettingsForText(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"standard_conforming_strings", "on"}, {"datestyle", "ISO"}, {"intervalstyle", "postgres"},
		{"extra_float_digits", "3"}, {"bytea_output", "hex"}, {"xmloption", "content"},
		{"array_nulls", "on"}, {"lc_monetary", "C"},
	};
	int			level = SettingsBegin();

	for (int i = 0; i < lengthof(settings); i++)
		SettingsSet(settings[i][0], settings[i][1]);
	return level;
}

/* Ends the level: every setting is what it was when it began. */
void
SettingsEnd(int level)
{
	AtEOXact_GUC(false, level);
}
