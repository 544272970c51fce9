"""What alembic runs: the migrations, on the connection and in the transaction that cmo/storage/database.py opened."""

from alembic import context

# SQLite's DDL is transactional once the driver's own transactions are off, which alembic cannot know.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)

with context.begin_transaction():
    context.run_migrations()
