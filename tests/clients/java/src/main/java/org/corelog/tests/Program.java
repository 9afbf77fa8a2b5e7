package org.corelog.tests;

import java.util.ArrayList;
import java.util.List;

/**
 * The Java client under test.
 *
 * <pre>
 * produce --bootstrap B (--topic T --codec C --input F)...
 * consume --bootstrap B (--topic T --count N --output F)...
 * checks  --bootstrap B --prefix P --broker corelog|kafka
 * member  --bootstrap B --group G [--instance I] [--cooperative yes] --topic T
 * </pre>
 */
public final class Program {
    private Program() {}

    /** One topic to fill or to read. */
    static final class Job {
        String topic;
        String codec;
        String input;
        String output;
        int count;
    }

    public static void main(String[] words) throws Exception {
        String bootstrap = null;
        String prefix = null;
        boolean corelog = false;
        String group = null;
        String instance = null;
        boolean cooperative = false;
        List<Job> jobs = new ArrayList<>();
        for (int i = 1; i + 1 < words.length; i += 2) {
            String value = words[i + 1];
            switch (words[i]) {
                case "--bootstrap" -> bootstrap = value;
                case "--group" -> group = value;
                case "--instance" -> instance = value;
                case "--cooperative" -> cooperative = true;
                case "--prefix" -> prefix = value;
                case "--broker" -> corelog = value.equals("corelog");
                case "--topic" -> {
                    jobs.add(new Job());
                    last(jobs).topic = value;
                }
                case "--codec" -> last(jobs).codec = value;
                case "--input" -> last(jobs).input = value;
                case "--output" -> last(jobs).output = value;
                case "--count" -> last(jobs).count = Integer.parseInt(value);
                default -> throw new IllegalArgumentException(words[i]);
            }
        }
        switch (words[0]) {
            case "produce" -> {
                for (Job job : jobs) {
                    Client.produce(bootstrap, job);
                }
            }
            case "consume" -> Client.consume(bootstrap, jobs);
            case "checks" -> {
                Checks checks = new Checks(bootstrap, prefix, corelog);
                new AdminChecks(checks).run();
                new ProducerChecks(checks).run();
                new ConsumerChecks(checks).run();
            }
            case "member" -> Member.run(bootstrap, group, instance, cooperative, last(jobs).topic);
            default -> throw new IllegalArgumentException(words[0]);
        }
    }

    private static Job last(List<Job> jobs) {
        return jobs.get(jobs.size() - 1);
    }
}
