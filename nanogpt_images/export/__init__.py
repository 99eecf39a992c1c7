"""Export the images of a batch from its journal, as Parquet, WebDataset or CSV, and its failed rows as a manifest."""

from .failed import export_failed as export_failed
from .report import ExportReport as ExportReport
from .run import ExportFormat as ExportFormat
from .run import export_batch as export_batch
