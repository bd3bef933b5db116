"""Where everything is kept: records in a database, original bytes in a folder of objects named by content."""

from micrographia.catalog.objects import Objects
from micrographia.catalog.store import Catalog

__all__ = ["Catalog", "Objects"]
