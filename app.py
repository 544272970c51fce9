"""What `chainlit run app.py` loads."""

from cmo.bootstrap.answering import open_application
from cmo.settings import load_settings
from cmo.ui.chat import serve

serve(load_settings, open_application)
