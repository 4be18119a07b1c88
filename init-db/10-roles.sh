#!/bin/bash
# Runs once, when the volume of Postgres is new: roles, the database, extensions. Tables come from the migrations, and
# with them what mlp_app and mlp_grafana may do to each.
# Changing a password in .env later does not change it here: docs/deployment.md, "Change a password".
set -euo pipefail

for name in POSTGRES_OWNER_PASSWORD POSTGRES_APP_PASSWORD GRAFANA_DB_PASSWORD EXPORTER_DB_PASSWORD; do
    [ -n "${!name:-}" ] || { echo "$name is empty: run make dev-setup, then start with a new volume." >&2; exit 1; }
done

# psql takes the passwords from the environment as variables: they are on no command line, and nothing in them is SQL.
psql --no-psqlrc -v ON_ERROR_STOP=1 -U "${POSTGRES_USER:-postgres}" -d postgres <<'SQL'
\getenv owner POSTGRES_OWNER_PASSWORD
\getenv app POSTGRES_APP_PASSWORD
\getenv grafana GRAFANA_DB_PASSWORD
\getenv exporter EXPORTER_DB_PASSWORD
CREATE ROLE mlp_owner LOGIN PASSWORD :'owner';
CREATE ROLE mlp_app LOGIN PASSWORD :'app';
CREATE ROLE mlp_grafana LOGIN PASSWORD :'grafana' CONNECTION LIMIT 10;
CREATE ROLE mlp_exporter LOGIN PASSWORD :'exporter' CONNECTION LIMIT 5;
ALTER ROLE mlp_grafana SET default_transaction_read_only = on;
ALTER ROLE mlp_grafana SET statement_timeout = '15s';
GRANT pg_monitor TO mlp_exporter;

CREATE DATABASE mlp OWNER mlp_owner;
REVOKE ALL ON DATABASE mlp FROM PUBLIC;
GRANT CONNECT ON DATABASE mlp TO mlp_app, mlp_grafana, mlp_exporter;
SQL

psql --no-psqlrc -v ON_ERROR_STOP=1 -U "${POSTGRES_USER:-postgres}" -d mlp <<'SQL'
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
ALTER SCHEMA public OWNER TO mlp_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO mlp_grafana, mlp_exporter;
SQL
