from concurrent.futures import ThreadPoolExecutor

from scout.jobs.prospect import ProspectJob


def run_all(job: ProspectJob, prospects, threads=4):
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(job.run, prospects))


def print_reports(reports):
    for report in reports:
        print(report.line())
