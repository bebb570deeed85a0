"""`tadp app`: a web page on this machine, on which words change maps and masks. Gradio is imported when it starts."""
