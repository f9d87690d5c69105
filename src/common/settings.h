/*
 * settings.h
 *	  Settings of the session, changed for a while.
 */
#ifndef AQUACIS_COMMON_SETTINGS_H
#define AQUACIS_COMMON_SETTINGS_H

extern int	SettingsBegin(void);
extern void SettingsSet(const char *name, const char *value);
extern int	SettingsForText(void);
extern void SettingsEnd(int level);

#endif							/* AQUACIS_COMMON_SETTINGS_H */
