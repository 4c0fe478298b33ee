from streamwatch.cli.app import main

main()
