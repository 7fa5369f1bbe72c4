"""Every figure of the papers as JSON, and the page of them: some simulations take seconds even without checks."""

import json

from minillm.cli.papers import figure_record, markdown_page
from minillm.evidence.papers import all_figures

computed = [(figure, figure.ours()) for figure in all_figures()]
records = {figure.id: figure_record(figure, ours) for figure, ours in computed}
print(json.dumps({"figures": records, "page": markdown_page(computed)}))
