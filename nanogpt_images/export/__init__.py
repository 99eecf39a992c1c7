"""The images of a batch as a file that other programs read: Parquet, WebDataset or CSV, out of its journal."""

from .run import ExportFormat as ExportFormat
from .run import ExportReport as ExportReport
from .run import export_batch as export_batch
