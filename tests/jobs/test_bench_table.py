"""What is printed: every number with its aim, and a missed one marked."""

import io

import pytest
from rich.console import Console

from apt_core.bench.report import Ratio
from jobs.bench_table import bench_tables, ratio_text
from tests.apt_core.bench.test_report import REPORT
