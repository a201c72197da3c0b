#!/bin/sh
# Runs once, when the volume of PostgreSQL is new: the service gets a role that is no superuser.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$MIRT_PASSWORD" --username "$POSTGRES_USER" <<'SQL'
CREATE ROLE mirt LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
CREATE DATABASE mirt OWNER mirt;
REVOKE ALL ON DATABASE mirt FROM PUBLIC;
SQL
