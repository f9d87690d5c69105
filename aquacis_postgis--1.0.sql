/* aquacis_postgis--1.0.sql: what returns PostGIS types */

-- complain if the script is sourced in psql
\echo Use "CREATE EXTENSION aquacis_postgis CASCADE" to load this file. \quit

