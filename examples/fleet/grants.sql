-- The roles of a fleet. Run it once as a superuser, with psql:
--
--   psql -v ON_ERROR_STOP=1 -v worker_password=... -v owner_password=... -f grants.sql
--
-- `regrip_owner` has the tables: start one worker of a new version with it, which brings the schema up to date. The others, and every
-- later start, use `regrip_worker`, which reads and writes rows and nothing else.
CREATE ROLE regrip_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE regrip_worker LOGIN PASSWORD :'worker_password' CONNECTION LIMIT 500;
CREATE DATABASE regrip OWNER regrip_owner;
REVOKE ALL ON DATABASE regrip FROM PUBLIC;
GRANT CONNECT ON DATABASE regrip TO regrip_worker;
\connect regrip
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO regrip_owner;
GRANT USAGE ON SCHEMA public TO regrip_worker;
ALTER DEFAULT PRIVILEGES FOR ROLE regrip_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO regrip_worker;
ALTER DEFAULT PRIVILEGES FOR ROLE regrip_owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO regrip_worker;
