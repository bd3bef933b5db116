"""landmarks, by which overlapping fields are found."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "landmarks",
        sa.Column("micrograph", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column(
            "packed",
            sa.LargeBinary(),
            nullable=False,
            comment="places by which overlapping fields are found",
        ),
        sa.ForeignKeyConstraint(["micrograph"], ["micrographs.id"], name=op.f("fk_landmarks_micrograph")),
        sa.PrimaryKeyConstraint("micrograph", "version", name=op.f("pk_landmarks")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("landmarks")
