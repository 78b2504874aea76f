"""What people look for who look for holes: parts of paths and queries, and tools that say who they are.

One pattern each, searched for in lowered, percent-decoded text. A single hit means little, since links to
such things go around; the detector counts them. Sources: OWASP Testing Guide v4.2 (path traversal, injection,
cross-site scripting, backup and unreferenced files), the SecLists "quickhits" list, names of common scanners.
"""

from __future__ import annotations

_TRAVERSAL = r"\.\.[/\\]", r"/etc/(passwd|shadow)", r"boot\.ini", r"win\.ini", r"/proc/self/", r"\x00"
_INJECTION = (
    r"<script",
    r"javascript:",
    r"\bonerror\s*=",
    r"\bunion\b.{1,40}\bselect\b",
    r"'\s*(or|and)\s*['\d(]",
    r"\bselect\b.{1,80}\bfrom\b.{1,80}(--|#|;|')",
    r"\b(sleep|benchmark|pg_sleep|extractvalue|updatexml|load_file)\s*\(|\bwaitfor\s+delay\b",
    r"\bxp_cmdshell\b",
    r"\$\{jndi:",
    r"\{\{.*\}\}",
    r"[;|`]\s*(cat|wget|curl|ping|id|whoami|uname|ls)(\s|[;|`]|$)",
    r"php://(input|filter)",
    r"(=|%0d|%0a|\r|\n)(http|ftp)s?://[^/]*\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}",
    r"[\r\n]set-cookie:",
)
_HIDDEN = (
    r"/\.(git|svn|hg|env|aws|ssh|htaccess|htpasswd|ds_store)\b",
    r"\.(sql|bak|old|backup|swp|orig)(\.(gz|tar|zip))?$",
    r"/(phpmyadmin|pma|myadmin|adminer|phpinfo|wp-config)\b",
    r"/(_vti_bin|jmx-console|manager/html|actuator/env|solr/admin)\b",
    r"/vendor/phpunit",
    r"\b(cmd|root)\.exe\b",
    r"acunetix|netsparker|nikto|nessus|w3af",
)

REQUEST_PROBES = "|".join(f"(?:{part})" for part in (*_TRAVERSAL, *_INJECTION, *_HIDDEN))

AGENT_PROBES = (
    r"\b(sqlmap|nikto|nmap|masscan|zgrab|acunetix|netsparker|nessus|openvas|w3af|arachni|wpscan|dirbuster|gobuster"
    r"|feroxbuster|ffuf|wfuzz|nuclei|hydra|burp|zaproxy|skipfish|whatweb|jorgee|morfeus|havij)\b"
    r"|\(\)\s*\{"
)
"""Tools by their names, and Shellshock."""
