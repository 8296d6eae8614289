"""Tests of this repository's own files; writes a JUnit report and ends with 1 when one fails.

    python3 tests/run.py junit.xml
"""
import pathlib
import re
import sys
import time
import unittest
import xml.etree.ElementTree as ET

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROTECTED = ("SEX", "RAC1P")


def read(name):
    return (ROOT / ".vagus" / name).read_text(encoding="utf-8")


class Manifests(unittest.TestCase):
    def test_protected_columns_are_no_features(self):
        encoded = re.search(r"one_hot:\s*columns: \[([^\]]*)\]", read("pipeline.yaml"))
        self.assertIsNotNone(encoded)
        for column in PROTECTED:
            self.assertNotIn(column, [name.strip() for name in encoded.group(1).split(",")])

    def test_every_encoded_column_is_in_the_dataset(self):
        declared = set(re.findall(r"\{ name: (\w+), type: category", read("dataset.yaml")))
        encoded = re.search(r"one_hot:\s*columns: \[([^\]]*)\]", read("pipeline.yaml")).group(1)
        self.assertLessEqual({name.strip() for name in encoded.split(",")}, declared)

    def test_a_new_version_starts_with_a_tenth_of_the_traffic_at_most(self):
        weights = [int(weight) for weight in re.findall(r"- weight: (\d+)", read("service.yaml"))]
        self.assertLessEqual(weights[0], 10)
        self.assertEqual(weights, sorted(weights))


class Report(unittest.TestResult):
    """Collects what JUnit's format tells of each case."""

    def __init__(self):
        super().__init__()
        self.suite = ET.Element("testsuite", name="employment")

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        self.case = ET.SubElement(
            self.suite, "testcase", name=test._testMethodName, classname=type(test).__name__)

    def stopTest(self, test):
        super().stopTest(test)
        self.case.set("time", f"{time.monotonic() - self.began:.4f}")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        ET.SubElement(self.case, "failure", message=str(error[1]))

    def addError(self, test, error):
        super().addError(test, error)
        ET.SubElement(self.case, "error", message=str(error[1]))


def main():
    report = Report()
    unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__]).run(report)
    for name, value in (("tests", report.testsRun), ("failures", len(report.failures)), ("errors", len(report.errors))):
        report.suite.set(name, str(value))
    if len(sys.argv) > 1:
        ET.ElementTree(report.suite).write(sys.argv[1], encoding="utf-8", xml_declaration=True)
    for test, trace in report.failures + report.errors:
        print(trace, file=sys.stderr)
    print(f"{report.testsRun} tests, {len(report.failures) + len(report.errors)} failed")
    return 0 if report.testsRun and report.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
