import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "parts"))

from commands.company import company_pipeline  # noqa: E402

if __name__ == "__main__":
    print(company_pipeline(sys.argv[1], sys.argv[2]))
