import argparse
import csv
import os

from scout.brain import Brain
from scout.fetching import Fetcher
from scout.jobs.batch import print_reports, run_all
from scout.jobs.prospect import ProspectJob
from scout.model import Prospect
from scout.shelf import Shelf


def read_prospects(file):
    with open(file, newline="") as rows:
        return [Prospect(*row) for row in csv.reader(rows)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    job = ProspectJob(Fetcher(), Brain(os.environ["KEY"]), Shelf("scout.db"))
    print_reports(run_all(job, read_prospects(parser.parse_args().file)))


if __name__ == "__main__":
    main()
