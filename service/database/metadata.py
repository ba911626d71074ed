"""The SQLAlchemy metadata that all tables of the deployment register with.

The tables of webhooks refer to those of jobs, so both belong to one `metadata`, and one call
creates them all.
"""

import sqlalchemy as sa

metadata = sa.MetaData()
