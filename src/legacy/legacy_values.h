/*
 * legacy_values.h
 *	  Converters of texts: characters, repair, phones, addresses of e-mail, dates,
 *	  postal codes.
 *
 * Pure C like those in legacy.h, with the same rules: bytes and a length, UTF-8, a
 * status for what is refused, nothing kept, no memory taken.
 */
#ifndef AQUACIS_LEGACY_VALUES_H
#define AQUACIS_LEGACY_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* legacy_chars.c */

/* Added to a byte that is not part of a UTF-8 sequence; beyond all of Unicode. */
#define LEGACY_LONE UINT32_C(0x200000)

/* The next character; moves *at behind it.  *at must be before end. */
extern uint32_t LegacyCharRead(const unsigned char **at, const unsigned char *end);

/* Writes the character as UTF-8, a lone byte as it is; returns the bytes, 1 to 4. */
extern size_t LegacyCharWrite(uint32_t c, char *out);

/* Is it a blank?  Does it have no width? */
extern bool LegacyCharIsBlank(uint32_t c);
extern bool LegacyCharIsInvisible(uint32_t c);

/* A hyphen or a dash, of ASCII or of Unicode? */
extern bool LegacyCharIsDash(uint32_t c);

/* What the byte is in Windows-1252 (0x80 to 0x9F), or 0; and which byte, or -1. */
extern uint32_t LegacyCharOfWindows(unsigned byte);
extern int	LegacyCharToWindows(uint32_t c);

/*
 * Copies the text into word, which has room for size bytes: ASCII in upper case, blanks
 * at the ends cut off, those within as one ' ', dashes as '-', what is invisible left out,
 * any other character as '\x01'.  Returns the length, or size if the text is longer.
 */
extern size_t LegacyCharsFold(const char *text, size_t len, char *word, size_t size);

/* legacy_repair.c */

typedef enum LegacyTextFault
{
	LEGACY_TEXT_SOUND,
	LEGACY_TEXT_LOST,			/* has U+FFFD: somebody gave up on a character before */
	LEGACY_TEXT_CONTROL,		/* has a control character that is no blank */
	LEGACY_TEXT_MOJIBAKE		/* looks like mojibake, but that is not certain */
} LegacyTextFault;

/* The room that LegacyTextRepair needs for a text of so many bytes. */
#define LEGACY_REPAIR_SIZE(len) ((len) * 3 + 1)

/*
 * Mends what is certain: see legacy_repair.c.  out has LEGACY_REPAIR_SIZE(len) bytes;
 * returns the length.  Lone bytes that are no control character in Latin-1 stay as they
 * are if keep_lone, otherwise they become Latin-1's characters.
 */
extern size_t LegacyTextRepair(const char *text, size_t len, bool keep_lone, char *out);

/* Blanks at the ends cut off, those within as one ' '; in place; returns the length. */
extern size_t LegacyTextSqueeze(char *text, size_t len);

/* What is left in a text that was repaired. */
extern LegacyTextFault LegacyTextFaultOf(const char *text, size_t len);

/* legacy_phone.c */

#define LEGACY_PHONE_DIGITS 10
#define LEGACY_PHONE_EXTENSION_MAX 6

typedef enum LegacyPhoneStatus
{
	LEGACY_PHONE_OK,
	LEGACY_PHONE_EMPTY,
	LEGACY_PHONE_MALFORMED,		/* something that is not part of a number */
	LEGACY_PHONE_FILLER,		/* one digit over and over */
	LEGACY_PHONE_FOREIGN,		/* + and not 52 */
	LEGACY_PHONE_NO_AREA,		/* 7 or 8 digits: the area code is missing */
	LEGACY_PHONE_SHORT,
	LEGACY_PHONE_LONG,
	LEGACY_PHONE_AREA,			/* an area code does not begin with 0 or 1 */
	LEGACY_PHONE_EXTENSION		/* an extension that is none */
} LegacyPhoneStatus;

typedef struct LegacyPhone
{
	char		digits[LEGACY_PHONE_DIGITS + 1];
	char		extension[LEGACY_PHONE_EXTENSION_MAX + 1];	/* "" if there is none */
} LegacyPhone;

extern LegacyPhoneStatus LegacyPhoneParse(const char *text, size_t len, LegacyPhone *phone);

/* The same if the area code may be in a text of its own. */
extern LegacyPhoneStatus LegacyPhoneParseParts(const char *area, size_t area_len,
											   const char *text, size_t len, LegacyPhone *phone);

/* legacy_email.c */

#define LEGACY_EMAIL_MAX 254

typedef enum LegacyEmailStatus
{
	LEGACY_EMAIL_OK,
	LEGACY_EMAIL_EMPTY,
	LEGACY_EMAIL_NO_AT,
	LEGACY_EMAIL_SEVERAL,
	LEGACY_EMAIL_CHARACTER,
	LEGACY_EMAIL_LOCAL,
	LEGACY_EMAIL_DOMAIN,
	LEGACY_EMAIL_LONG
} LegacyEmailStatus;

/* out has LEGACY_EMAIL_MAX + 1 bytes; it is set, with its end, for LEGACY_EMAIL_OK */
extern LegacyEmailStatus LegacyEmailParse(const char *text, size_t len, char *out);

/* legacy_date.c */

typedef enum LegacyDateStatus
{
	LEGACY_DATE_OK,
	LEGACY_DATE_EMPTY,
	LEGACY_DATE_ZERO,			/* all digits are 0 */
	LEGACY_DATE_MALFORMED,
	LEGACY_DATE_CENTURY,		/* the year has two digits */
	LEGACY_DATE_IMPOSSIBLE
} LegacyDateStatus;

/* in which order day and month stand before a year, or that year comes first always */
typedef enum LegacyDateOrder
{
	LEGACY_DATE_DMY,
	LEGACY_DATE_MDY,
	LEGACY_DATE_YMD
} LegacyDateOrder;

typedef struct LegacyDate
{
	int			year;			/* 1 to 9999 */
	int			month;
	int			day;
} LegacyDate;

/* *date is set for LEGACY_DATE_OK */
extern LegacyDateStatus LegacyDateParse(const char *text, size_t len, LegacyDateOrder order,
										LegacyDate *date);

/* legacy_postal.c */

#define LEGACY_POSTAL_DIGITS 5

typedef enum LegacyPostalStatus
{
	LEGACY_POSTAL_OK,
	LEGACY_POSTAL_EMPTY,
	LEGACY_POSTAL_MALFORMED,
	LEGACY_POSTAL_LENGTH,
	LEGACY_POSTAL_FILLER
} LegacyPostalStatus;

/* out has LEGACY_POSTAL_DIGITS + 1 bytes; it is set, with its end, for LEGACY_POSTAL_OK */
extern LegacyPostalStatus LegacyPostalParse(const char *text, size_t len, char *out);

/* for files that use the server's headers */

struct varlena;
struct NumericData;

/* legacy_flag.c */

typedef enum LegacyFlag
{
	LEGACY_FLAG_BLANK,
	LEGACY_FLAG_FALSE,
	LEGACY_FLAG_TRUE,
	LEGACY_FLAG_OTHER
} LegacyFlag;

extern LegacyFlag LegacyFlagParse(const char *text, size_t len);
extern LegacyFlag LegacyFlagOfNumeric(struct NumericData *value);

/* legacy_text.c */

/* A text of the database as the converters need it, and back: see legacy_text.c. */
extern const char *LegacyTextBytes(struct varlena *text, size_t *len);
extern struct varlena *LegacyTextOfUtf8(const char *bytes, size_t len);

#endif							/* AQUACIS_LEGACY_VALUES_H */
