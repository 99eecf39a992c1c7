"""Export the images of a batch from its journal, as Parquet, WebDataset or CSV."""

from .run import ExportFormat as ExportFormat
from .run import ExportReport as ExportReport
from .run import export_batch as export_batch
