/*
 * sentence.h
 *	  printf into memory, for functions that take a format themselves.
 */
#ifndef AQUACIS_COMMON_SENTENCE_H
#define AQUACIS_COMMON_SENTENCE_H

extern char *SentenceOf(const char *format, va_list args) pg_attribute_printf(1, 0);

#endif							/* AQUACIS_COMMON_SENTENCE_H */
