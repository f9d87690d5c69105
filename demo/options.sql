-- How every step prints, and that it stops at the first error.
\set ON_ERROR_STOP on
\set QUIET on
\pset footer off
\pset border 1
\pset null '-'
SET client_min_messages = warning;
SET search_path = cf_quere_pro, aquacis, public;
