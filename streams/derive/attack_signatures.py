"""What people look for who look for holes: parts of paths and queries, and tools that say who they are.

One pattern each, searched for in lowered, percent-decoded text. A single hit means little, since links to
such things go around; the detector counts them. Sources: OWASP Testing Guide v4.2 (path traversal, injection,
cross-site scripting, backup and unreferenced files), the SecLists "quickhits" list, names of common scanners.
"""

from __future__ import annotations

_TRAVERSAL = (
    r"(\.\.[/\\]){2}",
    r"/etc/(passwd|shadow)\b",
    r"\b(boot|win)\.ini\b",
    r"/proc/self/",
    r"\x00",
    r"\b(cmd|root)\.exe\b",
)
_INJECTION = (
    r"<script",
    r"javascript:\s*(alert|prompt|confirm|eval)\b",
    r"\bonerror\s*=",
    r"\bunion\b.{1,40}\bselect\b.{0,80}(,|\bnull\b|--|#)",
    r"'\s*(or|and)\s*['\d(]",
    r"\bselect\b.{1,80}\bfrom\b.{1,80}(--|#|;|')",
    r"\b(sleep|benchmark|pg_sleep|extractvalue|updatexml|load_file)\s*\(|\bwaitfor\s+delay\b",
    r"\bxp_cmdshell\b",
    r"\$\{jndi:",
    r"\{\{\s*\d+\s*[*+]\s*'?\d+",
    r"[;|`]\s*(cat|wget|curl|ping|id|whoami|uname|ls)(\s|[;|`]|$)",
    r"php://(input|filter)",
    r"[\r\n]set-cookie:",
    r"acunetix|netsparker|nikto|nessus|w3af",
)

ATTACKS = "|".join(f"(?:{part})" for part in (*_TRAVERSAL, *_INJECTION))
"""Requests that no one sends by mistake, whatever the response."""

HIDDEN = "|".join(
    f"(?:{part})"
    for part in (
        r"/\.(git|svn|hg|env|aws|ssh|htaccess|htpasswd|ds_store)\b",
        r"\.(sql|bak|old|backup|swp|orig)(\.(gz|tar|zip))?$",
        r"/(phpmyadmin|pma|myadmin|adminer|phpinfo|wp-config)\b",
        r"/(_vti_bin|jmx-console|manager/html|actuator/env|solr/admin)\b",
        r"/vendor/phpunit",
    )
)
"""What an administrator may ask for too: it tells of an intruder where it is not there."""

AGENT_SIGNATURES = (
    r"\b(sqlmap|nikto|nmap|masscan|zgrab|acunetix|netsparker|nessus|openvas|w3af|arachni|wpscan|dirbuster|gobuster"
    r"|feroxbuster|ffuf|wfuzz|nuclei|hydra|burp|zaproxy|skipfish|whatweb|jorgee|morfeus|havij)\b"
    r"|\(\)\s*\{"
)
"""Tools by their names, and Shellshock."""
