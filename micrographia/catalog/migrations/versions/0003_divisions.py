"""divisions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "divisions",
        sa.Column("fold", sa.Integer(), nullable=False),
        sa.Column(
            "drawn_as",
            sa.Text(),
            nullable=False,
            comment="JSON: shares and seed that the parts were drawn with",
        ),
        sa.PrimaryKeyConstraint("fold", name=op.f("pk_divisions")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("divisions")
