import click
from distilling import distil_fields_sync
from sitemap import list_paths_sync
from choosing import choose_paths_sync
from pages import read_pages_sync


def as_lines(result):
    return "\n".join(f"{key}: {value}" for key, value in result.items())


def company_pipeline(base_url, company_name, show_progress=True):
    """Research one company; never raises."""
    found = list_paths_sync(base_url)
    if not found["success"]:
        return {"success": False, "error": found["error"]}
    chosen = choose_paths_sync(found["paths"], base_url)
    if not chosen.success:
        return {"success": False, "error": chosen.error}
    read = read_pages_sync(base_url, chosen.paths)
    fields = distil_fields_sync(company_name, read.text, read.pages)
    return {"success": fields.success, "error": fields.error, "fields": fields.values, "pages": len(read.pages)}


@click.command()
@click.argument("company")
@click.argument("url")
def research(company, url):
    click.echo(as_lines(company_pipeline(url, company)))
