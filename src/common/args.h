/*
 * args.h
 *	  Checks of a function's arguments, and of where it is called.
 */
#ifndef AQUACIS_COMMON_ARGS_H
#define AQUACIS_COMMON_ARGS_H

#include "fmgr.h"

extern void ArgsRefuseNull(FunctionCallInfo fcinfo, const char *function,
						   const char *const *names, int n);
extern void ArgsRequireNonatomic(FunctionCallInfo fcinfo, const char *procedure);

#endif							/* AQUACIS_COMMON_ARGS_H */
