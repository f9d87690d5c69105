-- Runs every other statement of demo.fill: :share is 0 in one session, 1 in another.
\ir options.sql
SELECT statement FROM demo.fill WHERE position % 2 = :share ORDER BY position
\gexec
