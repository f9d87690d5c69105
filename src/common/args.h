/*
 * args.h
 *	  Checks of a function's arguments, and of where it is called.
 */
#ifndef AQUACIS_COMMON_ARGS_H
#define AQUACIS_COMMON_ARGS_H

#include "fmgr.h"
#include "nodes/pg_list.h"

extern void ArgsRefuseNull(FunctionCallInfo fcinfo, const char *function,
						   const char *const *names, int n);
extern void ArgsRequireNonatomic(FunctionCallInfo fcinfo, const char *procedure);
extern int	ArgsInt(FunctionCallInfo fcinfo, int n, const char *name, int min, int max,
					const char *hint);
extern int	ArgsWord(FunctionCallInfo fcinfo, int i, const char *name, const char *const *words,
					 int n, const char *hint);
extern List *ArgsNames(FunctionCallInfo fcinfo, int n, const char *name);

#endif							/* AQUACIS_COMMON_ARGS_H */
