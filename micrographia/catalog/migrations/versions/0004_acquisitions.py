"""acquisitions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "acquisitions",
        sa.Column("micrograph", sa.String(length=64), nullable=False),
        sa.Column(
            "version", sa.String(length=64), nullable=False, comment="of the readers of headers and databars"
        ),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["micrograph"], ["micrographs.id"], name=op.f("fk_acquisitions_micrograph")),
        sa.PrimaryKeyConstraint("micrograph", name=op.f("pk_acquisitions")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("acquisitions")
