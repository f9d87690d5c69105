/*
 * consolidate_deparse.c
 *	  The DDL that makes a source again, as text.
 *
 * Two pieces: what comes before the rows are put back (the table, its columns,
 * its owner) and what comes after (constraints and indexes, rights, comments,
 * replica identity).  Both are plain SQL with every name qualified, so that a
 * DBA can read and run them without the extension.
 *
 * A plain table costs one scan of pg_attribute and one of pg_description;
 * other tables are deparsed by the server, under SettingsForText, so that names are
 * qualified and every session writes the same.
 *
 * What cannot be written down here (row security, triggers, dependants, grants
 * by others than the owner, ...) ConsolidateCheckSource has refused before.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/toast_compression.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_description.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/defrem.h"
#include "commands/tablespace.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

#include "common/catalog.h"
#include "common/names.h"
#include "common/rights.h"
#include "common/settings.h"
#include "common/textarray.h"
#include "compat.h"
#include "consolidate/consolidate.h"

typedef struct Writer
{
	Relation	rel;
	char	   *name;			/* qualified and quoted */
	StringInfoData before;
	StringInfoData after;
} Writer;

/* ---- options and rights ---------------------------------------------------------- */

/* Appends the elements of a text[] like {fillfactor=70} as fillfactor='70'. */
static void
append_options(StringInfo sql, Datum options, const char *prefix, const char **separator)
{
	ListCell   *lc;

	foreach(lc, TextArrayToList(DatumGetArrayTypeP(options)))
	{
		char	   *option = lfirst(lc);
		char	   *value = strchr(option, '=');

		/* newer minor releases mark a column's age here; a new column has its own */
		if (strncmp(option, "pg_", 3) == 0)
			continue;
		if (value)
			*value++ = '\0';
		appendStringInfo(sql, "%s%s%s", *separator, prefix, quote_identifier(option));
		if (value)
			appendStringInfo(sql, "=%s", quote_literal_cstr(value));
		*separator = ", ";
	}
}

/* The GRANTs that give a table without any rights this ACL. */
static void
append_grants(Writer *writer, Acl *acl, const char *columns)
{
	AclItem    *items = ACL_DAT(acl);

	for (int i = 0; i < ACL_NUM(acl); i++)
		for (int with_option = 0; with_option < 2; with_option++)
		{
			AclMode		options = ACLITEM_GET_GOPTIONS(items[i]);
			AclMode		mode = ACLITEM_GET_PRIVS(items[i]) & (with_option ? options : ~options);

			if (mode == 0)
				continue;
			appendStringInfo(&writer->after, "GRANT %s ON TABLE %s TO %s%s;\n",
							 RightsText(mode, columns), writer->name,
							 RightsRole(items[i].ai_grantee),
							 with_option ? " WITH GRANT OPTION" : "");
		}
}

/* ---- columns ------------------------------------------------------------------- */

static const char *
storage_name(char storage)
{
	switch (storage)
	{
		case TYPSTORAGE_PLAIN:
			return "PLAIN";
		case TYPSTORAGE_EXTERNAL:
			return "EXTERNAL";
		case TYPSTORAGE_EXTENDED:
			return "EXTENDED";
		default:
			return "MAIN";
	}
}

static char *
default_expression(Relation rel, AttrNumber attno)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;

	for (int i = 0; constr && i < constr->num_defval; i++)
		if (constr->defval[i].adnum == attno)
			return deparse_expression(stringToNode(constr->defval[i].adbin),
									  deparse_context_for(RelationGetRelationName(rel),
														  RelationGetRelid(rel)),
									  false, false);
	return NULL;
}

/* Does the column have another collation than its type? */
static bool
is_collated(Form_pg_attribute att)
{
	return OidIsValid(att->attcollation) && !att->attisdropped &&
		att->attcollation != get_typcollation(att->atttypid);
}

static void
append_column(Writer *writer, Form_pg_attribute att, const char **separator)
{
	StringInfo	sql = &writer->before;
	char	   *expression;

	appendStringInfo(sql, "%s%s %s", *separator, quote_identifier(NameStr(att->attname)),
					 format_type_extended(att->atttypid, att->atttypmod,
										  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	*separator = ", ";
	if (CompressionMethodIsValid(att->attcompression))
		appendStringInfo(sql, " COMPRESSION %s", GetCompressionMethodName(att->attcompression));
	if (is_collated(att))
		appendStringInfo(sql, " COLLATE %s", generate_collation_name(att->attcollation));
	if (att->atthasdef &&
		(expression = default_expression(writer->rel, att->attnum)) != NULL)
		appendStringInfo(sql, " DEFAULT %s", expression);
	/* since 18 it is a constraint with a name, see append_constraints */
	if (att->attnotnull && !NOT_NULL_IS_CONSTRAINT)
		appendStringInfoString(sql, " NOT NULL");
}

/* -1 for the default.  The tuple is of pg_attribute. */
static int
statistics_target(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, Anum_pg_attribute_attstattarget, desc, &isnull);

	/* -1 or null, depending on the version, is the default */
	if (isnull)
		return -1;
	return TupleDescAttr(desc, Anum_pg_attribute_attstattarget - 1)->attlen == 2 ?
		DatumGetInt16(value) : DatumGetInt32(value);
}

/* Properties of a column that CREATE TABLE does not set.  The tuple is of pg_attribute. */
static void
append_column_extras(Writer *writer, Relation pg_attribute, HeapTuple tuple)
{
	Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);
	TupleDesc	desc = RelationGetDescr(pg_attribute);
	const char *column = quote_identifier(NameStr(att->attname));
	const char *separator = " SET (";
	int			statistics;
	Datum		value;
	bool		isnull;

	/* values that were TOASTed before a column became PLAIN may be too long for it */
	if (att->attstorage != get_typstorage(att->atttypid))
		appendStringInfo(att->attstorage == TYPSTORAGE_PLAIN ? &writer->after : &writer->before,
						 "ALTER TABLE %s ALTER COLUMN %s SET STORAGE %s;\n",
						 writer->name, column, storage_name(att->attstorage));
	statistics = statistics_target(tuple, desc);
	if (statistics >= 0)
		appendStringInfo(&writer->before, "ALTER TABLE %s ALTER COLUMN %s SET STATISTICS %d;\n",
						 writer->name, column, statistics);
	value = heap_getattr(tuple, Anum_pg_attribute_attoptions, desc, &isnull);
	if (!isnull)
	{
		StringInfoData options;

		initStringInfo(&options);
		append_options(&options, value, "", &separator);
		if (options.len > 0)
			appendStringInfo(&writer->before, "ALTER TABLE %s ALTER COLUMN %s%s);\n",
							 writer->name, column, options.data);
	}
	value = heap_getattr(tuple, Anum_pg_attribute_attacl, desc, &isnull);
	if (!isnull)
		append_grants(writer, DatumGetAclP(value), psprintf(" (%s)", column));
}

/* Is this a column, and not one of the system's or one that was dropped? */
static bool
is_column(HeapTuple tuple)
{
	Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);

	return att->attnum > 0 && !att->attisdropped;
}

static void
append_all_column_extras(Writer *writer)
{
	CatalogRows rows;
	HeapTuple	tuple;

	CatalogBegin(&rows, AttributeRelationId, AttributeRelidNumIndexId,
				 Anum_pg_attribute_attrelid, RelationGetRelid(writer->rel));
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
		if (is_column(tuple))
			append_column_extras(writer, rows.catalog, tuple);
	CatalogEnd(&rows);
}

/* ---- the table ------------------------------------------------------------------ */

static void
append_storage_parameters(Writer *writer, HeapTuple class_tuple)
{
	StringInfo	sql = &writer->before;
	const char *separator = " WITH (";
	Oid			toast = writer->rel->rd_rel->reltoastrelid;
	Datum		options;
	bool		isnull;

	options = SysCacheGetAttr(RELOID, class_tuple, Anum_pg_class_reloptions, &isnull);
	if (!isnull)
		append_options(sql, options, "", &separator);
	if (OidIsValid(toast))
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(toast));

		if (HeapTupleIsValid(tuple))
		{
			options = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_reloptions, &isnull);
			if (!isnull)
				append_options(sql, options, "toast.", &separator);
			ReleaseSysCache(tuple);
		}
	}
	if (separator[0] == ',')
		appendStringInfoChar(sql, ')');
}

static void
append_table(Writer *writer, HeapTuple class_tuple)
{
	Form_pg_class form = writer->rel->rd_rel;
	TupleDesc	desc = RelationGetDescr(writer->rel);
	StringInfo	sql = &writer->before;
	const char *separator = "";

	appendStringInfo(sql, "CREATE %sTABLE %s (",
					 form->relpersistence == RELPERSISTENCE_UNLOGGED ? "UNLOGGED " : "",
					 writer->name);
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			append_column(writer, TupleDescAttr(desc, i), &separator);
	/* always named, lest default_table_access_method changes it */
	appendStringInfo(sql, ") USING %s", quote_identifier(get_am_name(form->relam)));
	append_storage_parameters(writer, class_tuple);
	/* what has none is in the database's, whose name another database may not know */
	if (OidIsValid(form->reltablespace))
		appendStringInfo(sql, " TABLESPACE %s",
						 quote_identifier(get_tablespace_name(form->reltablespace)));
	appendStringInfoString(sql, ";\n");
	appendStringInfo(sql, "ALTER TABLE %s OWNER TO %s;\n", writer->name,
					 RightsRole(form->relowner));
}

/* ---- constraints and indexes ------------------------------------------------------ */

static void
append_comment(Writer *writer, const char *kind, const char *object, Oid oid, Oid classid)
{
	char	   *comment = GetComment(oid, classid, 0);

	if (comment)
		appendStringInfo(&writer->after, "COMMENT ON %s %s IS %s;\n", kind, object,
						 quote_literal_cstr(comment));
}

/* The server's functions return commands with or without a semicolon. */
static void
append_command(StringInfo sql, char *command)
{
	int			len = strlen(command);

	while (len > 0 && command[len - 1] == ';')
		len--;
	appendBinaryStringInfo(sql, command, len);
	appendStringInfoString(sql, ";\n");
}

/* Either those of NOT NULL, or all others. */
static void
append_constraints(Writer *writer, bool not_null)
{
	CatalogRows rows;
	HeapTuple	tuple;

	CatalogBegin(&rows, ConstraintRelationId, ConstraintRelidTypidNameIndexId,
				 Anum_pg_constraint_conrelid, RelationGetRelid(writer->rel));
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(tuple);

		if ((form->contype == 'n') != not_null)
			continue;
		append_command(&writer->after, pg_get_constraintdef_command(form->oid));
		append_comment(writer, "CONSTRAINT",
					   psprintf("%s ON %s", quote_identifier(NameStr(form->conname)), writer->name),
					   form->oid, ConstraintRelationId);
	}
	CatalogEnd(&rows);
}

/* Statistics targets of an index's expressions, which have numbers instead of names. */
static void
append_index_statistics(Writer *writer, Oid index, const char *name)
{
	CatalogRows rows;
	HeapTuple	tuple;

	CatalogBegin(&rows, AttributeRelationId, AttributeRelidNumIndexId,
				 Anum_pg_attribute_attrelid, index);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		int			statistics = is_column(tuple) ?
		statistics_target(tuple, RelationGetDescr(rows.catalog)) : -1;

		if (statistics >= 0)
			appendStringInfo(&writer->after, "ALTER INDEX %s ALTER COLUMN %d SET STATISTICS %d;\n",
							 name, ((Form_pg_attribute) GETSTRUCT(tuple))->attnum, statistics);
	}
	CatalogEnd(&rows);
}

/*
 * Indexes with their statistics and comments, and which of them the table is clustered on
 * or is its replica identity.
 */
static void
append_indexes(Writer *writer)
{
	List	   *indexes = RelationGetIndexList(writer->rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Oid			oid = lfirst_oid(lc);
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(oid));
		Form_pg_index form;
		const char *name = get_rel_name(oid);
		const char *qualified =
		quote_qualified_identifier(get_namespace_name(RelationGetNamespace(writer->rel)), name);

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for index %u", oid);
		form = (Form_pg_index) GETSTRUCT(tuple);
		if (!OidIsValid(get_index_constraint(oid)))
			append_command(&writer->after, pg_get_indexdef_string(oid));
		if (!heap_attisnull(tuple, Anum_pg_index_indexprs, NULL))
			append_index_statistics(writer, oid, qualified);
		append_comment(writer, "INDEX", qualified, oid, RelationRelationId);
		if (form->indisclustered)
			appendStringInfo(&writer->after, "ALTER TABLE %s CLUSTER ON %s;\n", writer->name,
							 quote_identifier(name));
		if (form->indisreplident)
			appendStringInfo(&writer->after, "ALTER TABLE %s REPLICA IDENTITY USING INDEX %s;\n",
							 writer->name, quote_identifier(name));
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
}

/* Comments on the table and on its columns, in one scan. */
static void
append_comments(Writer *writer)
{
	TupleDesc	columns = RelationGetDescr(writer->rel);
	CatalogRows rows;
	HeapTuple	tuple;

	CatalogBeginPair(&rows, DescriptionRelationId, DescriptionObjIndexId,
					 Anum_pg_description_objoid, RelationGetRelid(writer->rel),
					 Anum_pg_description_classoid, RelationRelationId);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		int			column = ((Form_pg_description) GETSTRUCT(tuple))->objsubid;
		bool		isnull;
		Datum		comment = CatalogField(&rows, tuple, Anum_pg_description_description, &isnull);

		if (column > 0 && TupleDescAttr(columns, column - 1)->attisdropped)
			continue;
		appendStringInfo(&writer->after, "COMMENT ON %s %s%s%s IS %s;\n",
						 column > 0 ? "COLUMN" : "TABLE", writer->name, column > 0 ? "." : "",
						 column > 0 ?
						 quote_identifier(NameStr(TupleDescAttr(columns, column - 1)->attname)) : "",
						 quote_literal_cstr(TextDatumGetCString(comment)));
	}
	CatalogEnd(&rows);
}

static bool
has_collations(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
		if (is_collated(TupleDescAttr(desc, i)))
			return true;
	return false;
}

/*
 * Writes the two pieces of DDL that make an open source again, in the current memory
 * context.  ConsolidateCheckSource has found no problem.
 */
void
ConsolidateDeparseTable(Relation source, char **before, char **after)
{
	Form_pg_class form = source->rd_rel;
	TupleConstr *constr = RelationGetDescr(source)->constr;
	HeapTuple	class_tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(RelationGetRelid(source)));
	Writer		writer = {.rel = source};
	bool		deparse = constr != NULL || form->relhasindex || form->relchecks > 0 ||
	has_collations(source);
	int			level;
	Datum		acl;
	bool		isnull;

	if (!HeapTupleIsValid(class_tuple))
		elog(ERROR, "cache lookup failed for relation %u", RelationGetRelid(source));
	level = deparse ? SettingsForText() : 0;
	initStringInfo(&writer.before);
	initStringInfo(&writer.after);
	writer.name = NamesQualified(RelationGetRelid(source));
	append_table(&writer, class_tuple);
	if (deparse)
	{
		/* a primary key would make its own NOT NULLs, with other names */
		append_constraints(&writer, true);
		append_constraints(&writer, false);
		append_indexes(&writer);
	}
	acl = SysCacheGetAttr(RELOID, class_tuple, Anum_pg_class_relacl, &isnull);
	if (!isnull)
	{
		/* the owner, too, has what the ACL says and no more */
		appendStringInfo(&writer.after, "REVOKE ALL ON TABLE %s FROM %s;\n", writer.name,
						 RightsRole(form->relowner));
		append_grants(&writer, DatumGetAclP(acl), "");
	}
	append_all_column_extras(&writer);
	append_comments(&writer);
	if (form->relreplident == REPLICA_IDENTITY_FULL ||
		form->relreplident == REPLICA_IDENTITY_NOTHING)
		appendStringInfo(&writer.after, "ALTER TABLE %s REPLICA IDENTITY %s;\n", writer.name,
						 form->relreplident == REPLICA_IDENTITY_FULL ? "FULL" : "NOTHING");
	if (deparse)
		SettingsEnd(level);
	ReleaseSysCache(class_tuple);
	*before = writer.before.data;
	*after = writer.after.data;
}
