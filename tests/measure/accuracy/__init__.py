"""Tests of evaluation: data sets, runs, reports and plots."""
